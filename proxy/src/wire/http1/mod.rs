//! HTTP/1.1 on the wire (RFC 9112): what both sides of the proxy need to read and to write it.
//!
//! Pure functions and state machines over bytes, without sockets: the same input gives the same result however it is split.
//! Everything that grows with its input has a bound, and whatever peers could understand in two ways is refused.
//!
//! | room | says |
//! |---|---|
//! | `chunked` | where the data of a chunked body is, and how to write one |
//! | `fields` | field lines to a header map and back |
//! | `maps` | header maps, used again |
//! | `response` | the head of a response, and how its body is delimited |

pub mod chunked;
pub mod fields;
pub mod head;
pub(crate) mod maps;
pub mod response;
