//! The program log's format, which may change while it runs.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{self, Format, Writer},
    },
    registry::LookupSpan,
};

/// JSON or text, as the switch says when the event comes.
pub(super) struct JsonOrText {
    switch: Arc<AtomicBool>,
    json: Format<format::Json>,
    text: Format<format::Full>,
}

impl JsonOrText {
    pub(super) fn new(switch: Arc<AtomicBool>) -> Self {
        let json = format::format().json().flatten_event(true).with_current_span(false).with_span_list(false);
        Self { switch, json, text: format::format() }
    }
}

impl<S, N> FormatEvent<S, N> for JsonOrText
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if self.switch.load(Relaxed) {
            self.json.format_event(context, writer, event)
        } else {
            self.text.format_event(context, writer, event)
        }
    }
}
