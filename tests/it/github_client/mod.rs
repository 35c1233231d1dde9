//! The client of GitHub's API against a GitHub of the tests.

mod documented;
mod download;
mod limits;
mod moved;
mod network;
mod origin;
mod pages;
mod words;

use std::time::Duration;

use kitt_action::{
    github::{GitHub, Operation, Request, operations::GET_REPOSITORY},
    secret::Secret,
};

const TOKEN: &str = "ghs_test";

/// A client whose own waits are cut to milliseconds.
fn client(url: &str) -> GitHub {
    GitHub::new(url, Secret::new(TOKEN).unwrap())
        .unwrap()
        .with_base_delay(Duration::from_millis(1))
}

/// A request about `org/repo`.
fn about(operation: &'static Operation, more: &[&str]) -> Request {
    let mut values = vec!["org", "repo"];
    values.extend(more);
    operation.request(&values)
}

fn repository() -> Request {
    about(&GET_REPOSITORY, &[])
}
