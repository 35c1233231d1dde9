//! kitt: benchmarks LLM inference engines and tells a pull request, with proof, whether it
//! made inference slower, hungrier or worse.
//!
//! Data flows one way. Each stage is a folder and hands a plain value to the next; a file may
//! `use` only what stands earlier in this list, or a leaf (`tests/architecture.rs` checks it).
//!
//! ```text
//! engine → context → plan → workload → serve → load → telemetry → measure
//!        → results → github → store → compare → verdict → render → publish
//! ```
//!
//! `engine`, `plan`, `measure`, `compare`, `verdict` and `render` are pure: values in, values
//! out, the seed passed in. Input and output live in `context` (environment, event, config
//! file), `workload` (tokenizers, datasets), `serve` (Docker), `sim` (the simulated engine),
//! `load` (sockets), `telemetry` (GPU), `results` and `store` (files), `github` (its API, for `store`
//! and `publish`) and `publish` (comment, step files, stdout).

// Leaves: every stage may use them.
pub mod endpoint;
pub mod histogram;
pub mod ids;
pub mod limits;
pub mod metric;
pub mod secret;
pub mod units;

// The flow.
pub mod cli;
pub mod compare;
pub mod context;
pub mod engine;
pub mod github;
pub mod load;
pub mod measure;
pub mod plan;
pub mod publish;
pub mod render;
pub mod results;
pub mod serve;
pub mod sim;
pub mod store;
pub mod telemetry;
pub mod verdict;
pub mod workload;

// What ties the stages together.
pub mod app;
pub mod error;
pub mod exit;
