//! gRPC over HTTP/2: how a call is known, its status codes, and what HTTP would have said in their place.
//!
//! gRPC answers 200 whatever happened, and tells the outcome in `grpc-status`, in the head ("trailers-only") or in the trailers.
//! Whoever judges answers by their status reads a code's [twin](Code::twin) instead.

use std::{borrow::Cow, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};

/// The code of a call's outcome.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// Its words, percent-encoded: see [`encoded`].
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// Its details, a protobuf in base64.
pub const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $reason:literal, $twin:ident;)*) => {
        /// A status code (grpc/grpc, doc/statuscodes.md).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Code {
            $($(#[$doc])* $variant = $number,)*
        }

        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: [Self; 17] = [$(Self::$variant),*];

            /// The name in lower case, as configuration has it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The reason of an operation that it settled.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$variant => $reason,)* }
            }

            /// The HTTP status that says the same (google/rpc/code.proto), so that one rule serves both.
            ///
            /// But for `UNIMPLEMENTED`, which is 404 here, as in gRPC's own mapping from HTTP: that a service lacks a method is no
            /// sign of its health.
            pub const fn twin(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$twin,)* }
            }
        }
    };
}

codes! {
    /// It was done.
    Ok = 0, "ok", "grpc_ok", OK;
    /// Somebody called it off.
    Cancelled = 1, "cancelled", "grpc_cancelled", REQUEST_TIMEOUT;
    /// Nobody knows.
    Unknown = 2, "unknown", "grpc_unknown", INTERNAL_SERVER_ERROR;
    /// The request makes no sense.
    InvalidArgument = 3, "invalid_argument", "grpc_invalid_argument", BAD_REQUEST;
    /// Time ran out, which says nothing of what was done.
    DeadlineExceeded = 4, "deadline_exceeded", "grpc_deadline_exceeded", GATEWAY_TIMEOUT;
    /// It is not there.
    NotFound = 5, "not_found", "grpc_not_found", NOT_FOUND;
    /// It is there already.
    AlreadyExists = 6, "already_exists", "grpc_already_exists", CONFLICT;
    /// The caller may not do this.
    PermissionDenied = 7, "permission_denied", "grpc_permission_denied", FORBIDDEN;
    /// Too much was asked.
    ResourceExhausted = 8, "resource_exhausted", "grpc_resource_exhausted", TOO_MANY_REQUESTS;
    /// Things do not stand as the call needs them.
    FailedPrecondition = 9, "failed_precondition", "grpc_failed_precondition", BAD_REQUEST;
    /// It collided with another call.
    Aborted = 10, "aborted", "grpc_aborted", CONFLICT;
    /// Past the end.
    OutOfRange = 11, "out_of_range", "grpc_out_of_range", BAD_REQUEST;
    /// The service has no such method.
    Unimplemented = 12, "unimplemented", "grpc_unimplemented", NOT_FOUND;
    /// The service is broken.
    Internal = 13, "internal", "grpc_internal", INTERNAL_SERVER_ERROR;
    /// The service is not there now.
    Unavailable = 14, "unavailable", "grpc_unavailable", SERVICE_UNAVAILABLE;
    /// Data is lost.
    DataLoss = 15, "data_loss", "grpc_data_loss", INTERNAL_SERVER_ERROR;
    /// The caller is not known.
    Unauthenticated = 16, "unauthenticated", "grpc_unauthenticated", UNAUTHORIZED;
}

impl Code {
    /// The code of that number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The code of that name or number, as configuration has it.
    pub fn from_word(word: &str) -> Option<Self> {
        let named = Self::ALL.iter().copied().find(|code| code.name() == word);
        named.or_else(|| Self::from_number(word.parse().ok()?))
    }

    /// The code of a field's value. One that nobody knows is `UNKNOWN`, as the specification says.
    fn of(value: &HeaderValue) -> Self {
        let number = value.to_str().ok().and_then(|text| text.parse().ok());
        number.and_then(Self::from_number).unwrap_or(Self::Unknown)
    }

    /// The code in a head or in trailers.
    pub fn in_fields(fields: &HeaderMap) -> Option<Self> {
        fields.get(GRPC_STATUS).map(Self::of)
    }

    /// Its number, as `grpc-status` has it.
    pub fn value(self) -> HeaderValue {
        HeaderValue::from(self as u16)
    }
}

/// Which gRPC a call speaks; an answer speaks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `application/grpc`.
    Native,
    /// `application/grpc-web`.
    Web,
    /// `application/grpc-web-text`.
    WebText,
}

impl Dialect {
    /// That of a message; `None` if it is none of gRPC.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.as_bytes();
        let starts =
            |prefix: &str| value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()));
        if !starts(Self::Native.media_type()) {
            return None;
        }
        let of_web = [Self::WebText, Self::Web].into_iter().find(|dialect| starts(dialect.media_type()));
        Some(of_web.unwrap_or(Self::Native))
    }

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Native => "application/grpc",
            Self::Web => "application/grpc-web",
            Self::WebText => "application/grpc-web-text",
        }
    }
}

/// The flag of a frame that holds trailers and no message (grpc/grpc, doc/PROTOCOL-WEB.md).
const TRAILER_FRAME: u8 = 0x80;

impl Code {
    /// The code at the end of a whole gRPC-Web body, whose last frame holds what would else be trailers; `None` where there is
    /// none, where the frames are no such body, and for [`Dialect::Native`], which has real trailers.
    pub fn in_body(dialect: Dialect, body: &[u8]) -> Option<Self> {
        let mut rest: &[u8] = &match dialect {
            Dialect::Native => return None,
            Dialect::Web => Cow::Borrowed(body),
            Dialect::WebText => Cow::Owned(of_text(body)?),
        };
        let trailers = loop {
            let (head, after) = rest.split_first_chunk::<5>()?;
            let [flags, length @ ..] = *head;
            let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
            let frame = after.get(..length)?;
            rest = &after[length..];
            match (flags & TRAILER_FRAME != 0, rest.is_empty()) {
                (true, true) => break frame,
                (false, false) => {}
                // Trailers that something follows, or messages that nothing ends.
                _ => return None,
            }
        };
        let value = trailers.split(|byte| *byte == b'\n').find_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
            name.eq_ignore_ascii_case(GRPC_STATUS.as_str().as_bytes()).then_some(value)
        })?;
        HeaderValue::from_bytes(value).ok().map(|value| Self::of(&value))
    }
}

/// What such a body is in base64. Each frame may be encoded, and so padded, on its own.
fn of_text(body: &[u8]) -> Option<Vec<u8>> {
    let groups = body.chunks(4).map(|group| STANDARD.decode(group).ok());
    groups.collect::<Option<Vec<_>>>().map(|groups| groups.concat())
}

/// Whether a response with this head tells its code there or in its trailers. gRPC-Web may tell it in its body instead:
/// [`Code::in_body`].
pub fn tells_in_fields(headers: &HeaderMap) -> bool {
    Dialect::of(headers).is_some_and(|dialect| dialect == Dialect::Native || headers.contains_key(GRPC_STATUS))
}

/// Whether a message is one of gRPC.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    Dialect::of(headers).is_some()
}

/// A `grpc-message`: every byte but printable ASCII, and the percent sign itself, becomes `%` and two digits.
pub fn encoded(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
            _ => write!(text, "%{byte:02X}").expect("a string takes whatever is written"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn a_code_is_read_by_its_number_and_named_by_its_word() {
        for (number, code) in (0..).zip(Code::ALL) {
            assert_eq!((code as u16, Code::from_number(number)), (number, Some(code)));
            assert_eq!(Code::in_fields(&fields("grpc-status", &number.to_string())), Some(code));
            assert_eq!((Code::from_word(code.name()), Code::from_word(&number.to_string())), (Some(code), Some(code)));
            assert_eq!(code.reason(), format!("grpc_{}", code.name()));
        }
        for strange in ["17", "99999999", "-1", "", "OK"] {
            assert_eq!(Code::in_fields(&fields("grpc-status", strange)), Some(Code::Unknown), "{strange:?}");
        }
        assert_eq!((Code::in_fields(&HeaderMap::new()), Code::from_word("17")), (None, None));
    }

    #[test]
    fn only_codes_that_blame_the_service_have_a_twin_that_does() {
        let faults: Vec<_> = Code::ALL.into_iter().filter(|code| code.twin().is_server_error()).collect();
        let expected = [Code::Unknown, Code::DeadlineExceeded, Code::Internal, Code::Unavailable, Code::DataLoss];
        assert_eq!(faults, expected);
        let good: Vec<_> = Code::ALL.into_iter().filter(|code| code.twin().is_success()).collect();
        assert_eq!(good, [Code::Ok]);
    }

    #[test]
    fn a_call_is_known_by_its_media_type_in_whatever_case() {
        for (media_type, expected) in [
            ("application/grpc", Some(Dialect::Native)),
            ("application/grpc+proto", Some(Dialect::Native)),
            ("Application/GRPC;x=y", Some(Dialect::Native)),
            ("application/grpc-web+proto", Some(Dialect::Web)),
            ("application/grpc-web-text+proto", Some(Dialect::WebText)),
            ("application/json", None),
            ("application/grp", None),
        ] {
            assert_eq!(Dialect::of(&fields("content-type", media_type)), expected, "{media_type}");
        }
        assert_eq!(Dialect::of(&HeaderMap::new()), None);
    }

    fn frame(flags: u8, content: &str) -> Vec<u8> {
        [&[flags][..], &u32::try_from(content.len()).unwrap().to_be_bytes(), content.as_bytes()].concat()
    }

    #[test]
    fn a_code_is_read_at_the_end_of_a_web_body() {
        let trailers = frame(TRAILER_FRAME, "grpc-message: none\r\nGrpc-Status:9\r\n");
        let whole = [frame(0, "a message"), trailers.clone()].concat();
        let text = [STANDARD.encode(frame(0, "a message")), STANDARD.encode(&trailers)].concat();
        assert_eq!(Code::in_body(Dialect::Web, &whole), Some(Code::FailedPrecondition));
        assert_eq!(Code::in_body(Dialect::Web, &trailers), Some(Code::FailedPrecondition));
        assert_eq!(Code::in_body(Dialect::WebText, text.as_bytes()), Some(Code::FailedPrecondition));
        assert_eq!(Code::in_body(Dialect::Native, &whole), None);
        let nameless = frame(TRAILER_FRAME, "grpc-message: none\r\n");
        for cut in
            [&whole[..whole.len() - 1], &frame(0, "a message"), &[trailers.clone(), trailers].concat(), b"", &nameless]
        {
            assert_eq!(Code::in_body(Dialect::Web, cut), None, "{cut:?}");
        }
        assert_eq!(Code::in_body(Dialect::WebText, b"not base64"), None);
    }

    #[test]
    fn a_message_is_printable_ascii() {
        for (message, expected) in
            [("plain ~ text", "plain ~ text"), ("100 %", "100 %25"), ("ä\n", "%C3%A4%0A"), ("\u{7f}", "%7F"), ("", "")]
        {
            assert_eq!(encoded(message), expected);
            assert!(HeaderValue::from_str(&encoded(message)).is_ok());
        }
    }
}
