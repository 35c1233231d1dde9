//! GPUs, drivers, processes that talk to each other, images and disks; and the lines of engines
//! that wrap an error of their parts.

use super::{
    FailureClass::{Communication, Gpu, Image, Unknown},
    rule::Rule,
};

const NO_GPU: &str = "the engine sees no GPU";
const SHOW_GPU: &str =
    "check --gpus and that `nvidia-smi` works on the runner (`kitt doctor` looks at both)";
const TOOLKIT: &str =
    "Docker has no way to hand GPUs to containers: NVIDIA's container toolkit is missing";
const INSTALL: &str = "install nvidia-container-toolkit, run `nvidia-ctk runtime configure --runtime=docker` and restart Docker";
const OLD_DRIVER: &str = "the GPU's driver is too old for the CUDA version of the image";
const UPDATE: &str = "update the driver, or choose an --image for an older CUDA (tags with -cu126, -cu128 or -cu129)";
const MISMATCH: &str = "the driver was updated and its kernel module was not";
const SHM: &str = "the processes of the engine have too little shared memory";
const MORE_SHM: &str = "raise --shm-size (16384 MiB suits several GPUs)";

pub(super) const RULES: &[Rule] = &[
    // llama.cpp goes on without: it would measure the processors.
    Rule::new(
        Gpu,
        &["no usable gpu found"],
        "llama.cpp was given GPUs and cannot use them, so it would run on the processors",
        "choose an --image for this GPU (server-cuda, server-rocm), or --gpus none to measure the processors",
    )
    .fatal(),
    Rule::new(Gpu, &["ggml_cuda_init: failed to initialize cuda"], NO_GPU, SHOW_GPU),
    Rule::new(
        Gpu,
        &["failed to infer device type"],
        "vLLM finds no device it can use",
        "check --gpus and `kitt doctor`; for processors take an image made for them (vllm/vllm-openai-cpu)",
    )
    .fatal(),
    Rule::new(Gpu, &["no cuda gpus are available"], NO_GPU, SHOW_GPU),
    Rule::new(Gpu, &["no rocm-capable device is detected"], NO_GPU, "check --gpus amd and that the runner's user may use /dev/kfd and /dev/dri (groups video and render)"),
    Rule::new(Gpu, &["no cuda-capable device is detected"], NO_GPU, SHOW_GPU),
    Rule::new(Gpu, &["could not select device driver"], TOOLKIT, INSTALL),
    Rule::new(Gpu, &["unknown runtime specified nvidia"], TOOLKIT, INSTALL),
    Rule::new(Gpu, &["unknown or invalid runtime name: nvidia"], TOOLKIT, INSTALL),
    Rule::new(Gpu, &["nvidia-container-cli", "unsatisfied condition: cuda"], OLD_DRIVER, UPDATE),
    Rule::new(Gpu, &["cuda driver version is insufficient for cuda runtime version"], OLD_DRIVER, UPDATE),
    Rule::new(Gpu, &["the nvidia driver on your system is too old"], OLD_DRIVER, UPDATE),
    Rule::new(
        Gpu,
        &["nvidia-container-cli", "unknown device"],
        "a GPU that was asked for is not in this machine any more",
        "compare --gpus with `nvidia-smi -L`; a GPU may have fallen off the bus",
    ),
    Rule::new(
        Gpu,
        &["nvidia-container-cli", "driver not loaded"],
        "the GPU's driver is not loaded",
        "load it (`modprobe nvidia`) or reboot; `nvidia-smi` must work on the runner",
    ),
    Rule::new(Gpu, &["driver/library version mismatch"], MISMATCH, "reboot the runner, or reload the nvidia modules"),
    Rule::new(
        Gpu,
        &["failed to initialize nvml: unknown error"],
        "the container lost its GPUs, as after `systemctl daemon-reload` on the host",
        "start the run again; NVIDIA's toolkit documents a lasting fix (udev rules, or the cgroupfs driver)",
    ),
    Rule::new(
        Gpu,
        &["error gathering device information", "no such file or directory"],
        "a device of the GPU is not on this machine",
        "check the driver; for AMD /dev/kfd and /dev/dri must exist on the runner",
    ),
    Rule::new(
        Gpu,
        &["no kernel image is available for execution on the device"],
        "the image holds no code for this GPU's generation",
        "choose an --image built for this GPU's compute capability",
    ),
    Rule::new(Gpu, &["libcuda.so.1: cannot open shared object file"], "the container has no driver library: it was started without a GPU", SHOW_GPU),
    Rule::new(
        Gpu,
        &["bfloat16 is only supported on gpus with compute capability"],
        "this GPU does not compute in bfloat16",
        "set --dtype half in --engine-args",
    ),
    Rule::new(
        Gpu,
        &["system not yet initialized"],
        "the GPUs wait for NVIDIA's fabric manager",
        "start nvidia-fabricmanager in the driver's version on the runner",
    ),
    // Before the disk: the same words, another place.
    Rule::new(Communication, &["/dev/shm", "no space left on device"], SHM, MORE_SHM),
    Rule::new(Communication, &["no space left on device", "/dev/shm"], SHM, MORE_SHM),
    Rule::new(Communication, &["insufficient shared memory"], SHM, MORE_SHM),
    Rule::new(
        Communication,
        &["nccl error"],
        "the GPUs cannot talk to each other",
        "set NCCL_DEBUG=INFO under `env` of the config file and read the lines above; often --shm-size is too small, or NCCL_P2P_DISABLE=1 is needed",
    ),
    Rule::new(
        Communication,
        &["ncclunhandledcudaerror"],
        "the GPUs cannot talk to each other",
        "set NCCL_DEBUG=INFO under `env` of the config file and read the lines above",
    ),
    Rule::new(
        Image,
        &["exec format error"],
        "the image is for another processor architecture",
        "choose an --image for this machine (`uname -m`)",
    ),
    Rule::new(
        Image,
        &["manifest unknown"],
        "the registry has no such tag of the image",
        "check --image against the registry's list of tags",
    ),
    Rule::new(
        Image,
        &["toomanyrequests"],
        "the registry allows no more pulls for now",
        "log in with `docker login` on the runner, pull the image beforehand, or use a mirror",
    ),
    Rule::new(
        Image,
        &["pull access denied"],
        "the registry has no such image, or wants a login",
        "check --image, and run `docker login` for that registry on the runner",
    ),
    Rule::new(
        Image,
        &["no basic auth credentials"],
        "the registry wants a login",
        "run `docker login` for that registry on the runner",
    ),
    Rule::new(
        Image,
        &["unauthorized: authentication required"],
        "the registry wants a login, or refuses this one",
        "run `docker login` for that registry on the runner",
    ),
    Rule::new(
        Image,
        &["exec: \"", "no such file or directory"],
        "the image does not hold the engine's program",
        "check that --image is an image of this engine",
    ),
    Rule::new(
        Image,
        &["exec: \"", "executable file not found"],
        "the image does not hold the engine's program",
        "check that --image is an image of this engine",
    ),
    Rule::new(
        Image,
        &["no space left on device"],
        "a disk of the runner is full",
        "free space where Docker keeps images (`docker system df`) and where --cache-dir is",
    ),
    // Wrappers: believed when no other line says more.
    Rule::new(
        Unknown,
        &["engine core initialization failed"],
        "vLLM's engine process did not start, and the kept part of the log does not say why",
        "read engine.log from its first error; set VLLM_LOGGING_LEVEL=DEBUG under `env` of the config file for more",
    )
    .wrapper()
    .fatal(),
    Rule::new(
        Unknown,
        &["scheduler hit an exception"],
        "SGLang's scheduler did not start, and the kept part of the log does not say why",
        "read the traceback below that line in engine.log",
    )
    .wrapper(),
    Rule::new(
        Unknown,
        &["shardcannotstart"],
        "TGI's shard did not start, and the kept part of the log does not say why",
        "read engine.log from its first error",
    )
    .wrapper(),
    Rule::new(
        Unknown,
        &["shardfailed"],
        "TGI's shard ended, and the kept part of the log does not say why",
        "read engine.log from its first error",
    )
    .wrapper(),
    Rule::new(
        Unknown,
        &["llama-server process has terminated"],
        "Ollama's runner ended, and the kept part of the log does not say why",
        "read engine.log from its first error; set OLLAMA_DEBUG=1 under `env` of the config file for more",
    )
    .wrapper(),
    Rule::new(
        Unknown,
        &["llama runner process has terminated"],
        "Ollama's runner ended, and the kept part of the log does not say why",
        "read engine.log from its first error; set OLLAMA_DEBUG=1 under `env` of the config file for more",
    )
    .wrapper(),
    Rule::new(
        Unknown,
        &["model runner has unexpectedly stopped"],
        "Ollama's runner ended while it was used, often because memory ran out",
        "read engine.log from its first error; lower --concurrency or the lengths",
    )
    .wrapper(),
];
