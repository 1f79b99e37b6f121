//! Configuration: YAML in, one immutable [`Config`](model::Config) out.

pub mod model;
