//! The `kitt` command.

fn main() {}
