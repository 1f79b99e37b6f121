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

/// Bounds on a message's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes, from the start line to the blank line.
    pub bytes: usize,
    /// Fields.
    pub fields: usize,
}

/// Up to so many fields are parsed on the stack: the default of `limits.header_count`, and more than most answers have.
pub(crate) const STACK_FIELDS: usize = 100;
