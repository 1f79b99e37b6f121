//! What runs with no client about: the resolver, housekeeping, and a look at the CPU; each is started again if it ends.

pub mod cpu;
pub(crate) mod resolver;
pub(crate) mod supervise;
