//! An engine's output: floods, secrets and long lines, through a real daemon.

use super::*;

/// Memory of this process that is in use, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_flood_of_output_does_not_fill_the_memory() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    // 4 KiB a line, 25,600 lines: 100 MiB.
    let script = "l=x; while [ ${#l} -lt 4095 ]; do l=$l$l; done; l=$(printf %.4095s $l); \
                  i=0; while [ $i -lt 25600 ]; do echo $l; i=$((i+1)); done; echo the end; exit 3";
    let (spec, mut options) = (shell(script).await, options("flood"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.log");
    options.log_file = Some(path.clone());
    let before = resident();
    let done = CancellationToken::new();
    let watch = async {
        let mut most = 0;
        while !done.is_cancelled() {
            most = most.max(resident());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        most
    };
    let begin = Instant::now();
    let run = async {
        let error = start_only(&spec, &options).await;
        done.cancel();
        error
    };
    let (error, most) = tokio::join!(run, watch);
    let written: u64 = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    println!(
        "100 MiB of output in {:?}: {} MiB written, memory {} MiB before, {} MiB at most",
        begin.elapsed(),
        written >> 20,
        before >> 10,
        most >> 10
    );
    assert!(error.to_string().ends_with("the end"));
    assert!(
        most.saturating_sub(before) < 64 << 10,
        "{before} KiB to {most} KiB"
    );
    assert!(begin.elapsed() < Duration::from_mins(1));
    nothing_left(&docker, &options).await;
}

#[tokio::test]
async fn secrets_of_the_specification_are_hidden_even_across_frames() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    // The secret stands over the edge of a frame of 16 KiB, and once alone.
    let script = "l=x; while [ ${#l} -lt 16380 ]; do l=$l$l; done; printf %.16380s $l; \
                  echo $HF_TOKEN; echo token $HF_TOKEN; exit 3";
    let (mut spec, mut options) = (shell(script).await, options("hidden"));
    if let Target::Container(container) = &mut spec.target {
        let token = Secret::new("hf_abcdefghij").unwrap();
        container.secrets = [("HF_TOKEN".to_owned(), token)].into();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.log");
    options.log_file = Some(path.clone());
    let error = start_only(&spec, &options).await.to_string();
    let log = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].len() == 16383 && lines[0].ends_with("x***"),
        "{}",
        lines[0].len()
    );
    assert_eq!(lines[1], "token ***");
    assert!(
        !error.contains("hf_") && error.contains("token ***"),
        "{error}"
    );
    nothing_left(&docker, &options).await;
}
