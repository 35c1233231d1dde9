//! Every event, in the shapes that GitHub documents, through the real binary.

mod asked;
mod fixture;
mod table;
mod workspaces;
mod world;
