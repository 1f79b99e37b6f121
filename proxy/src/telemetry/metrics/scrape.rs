//! Families that are read at scrape time.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

/// What a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up.
    Counter,
}

/// The samples of one family; label sets must differ from each other.
#[derive(Default)]
pub struct Samples(Vec<(Vec<(&'static str, String)>, f64)>);

impl Samples {
    /// Adds a sample.
    pub fn push(&mut self, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.0.push((labels, value));
    }
}

pub(super) struct OnScrape<F> {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    read: F,
}

impl<F> OnScrape<F> {
    pub(super) fn new(name: &'static str, help: &'static str, kind: Kind, read: F) -> Self {
        Self { name, help, kind, read }
    }

    fn sample(&self, to: &mut MetricEncoder<'_>, value: f64) -> fmt::Result {
        match self.kind {
            Kind::Gauge => to.encode_gauge(&value),
            Kind::Counter => to.encode_counter::<NoLabelSet, _, f64>(&value, None),
        }
    }
}

impl<F> fmt::Debug for OnScrape<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnScrape").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<F: Fn(&mut Samples) + Send + Sync + 'static> Collector for OnScrape<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut samples = Samples::default();
        (self.read)(&mut samples);
        if samples.0.is_empty() {
            return Ok(());
        }
        let kind = match self.kind {
            Kind::Gauge => MetricType::Gauge,
            Kind::Counter => MetricType::Counter,
        };
        let mut family = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        for (labels, value) in &samples.0 {
            // Without labels there must be no braces either.
            if labels.is_empty() {
                self.sample(&mut family, *value)?;
            } else {
                self.sample(&mut family.encode_family(labels)?, *value)?;
            }
        }
        Ok(())
    }
}
