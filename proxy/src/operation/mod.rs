//! The service's side of a keyed write, client or no client: sent, settled, listened for, asked about.

pub(crate) mod asker;
pub(crate) mod execution;
mod gathered;
mod late;
pub(crate) mod redispatch;
mod settle;
pub(crate) mod write;
