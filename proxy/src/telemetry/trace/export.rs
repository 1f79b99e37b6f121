//! The way out for spans: a bounded queue, and one thread with a runtime of its own that sends batches.
//!
//! Offering a span never waits. A collector that is down or slow fills the queue, and what does not fit is dropped and
//! counted; when the collector is back, the next batch goes through. The thread is apart from those that serve traffic, so
//! that encoding and name resolution cost them nothing.

use std::{io, sync::Arc, time::Duration};

use opentelemetry_otlp::{ExporterBuildError, Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::otlp::Collector;
use crate::{config::model::Otlp, telemetry::metrics::SpanCounters};

/// Spans of one export at most, as in the SDK's batch processor.
const BATCH: usize = 512;
/// How long a span waits for company. The SDK waits 5 s; a person who looks at a trace should not.
const LINGER: Duration = Duration::from_secs(1);

/// Why there is no exporter.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// The endpoint cannot be used.
    #[error("{0} is not an http:// or https:// URL with a host")]
    Endpoint(http::Uri),
    /// The exporter cannot be made of what it was given.
    #[error(transparent)]
    Build(#[from] ExporterBuildError),
    /// No thread.
    #[error("cannot start the exporter's thread: {0}")]
    Thread(#[from] io::Error),
}

/// Takes spans and sends them.
pub(super) struct Exporter {
    queue: mpsc::Sender<SpanData>,
    counters: Arc<SpanCounters>,
    stop: watch::Sender<Option<Instant>>,
    /// Closed when the thread has ended.
    ended: watch::Receiver<()>,
}

impl Exporter {
    /// Starts the thread. It ends after [`Self::retire`], or when nothing holds the exporter any more.
    pub(super) fn start(otlp: &Otlp, resource: &Resource, counters: Arc<SpanCounters>) -> Result<Self, StartError> {
        let collector = Collector::new(otlp).ok_or_else(|| StartError::Endpoint(otlp.endpoint.clone()))?;
        let mut otlp_exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(collector.url())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(otlp.timeout)
            // Its waits would block the thread; the collector client retries by itself.
            .with_retry_policy(RetryPolicy::disabled())
            .with_http_client(collector)
            .build()?;
        otlp_exporter.set_resource(resource);

        let (queue, spans) = mpsc::channel(otlp.queue.get());
        let (stop, stopped) = watch::channel(None);
        let (alive, ended) = watch::channel(());
        let worker = Worker { spans, stopped, exporter: otlp_exporter, counters: Arc::clone(&counters), healthy: true };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
        std::thread::Builder::new().name("mainstay-otlp".to_owned()).spawn(move || {
            runtime.block_on(worker.run());
            // A name that is still being resolved must not keep the thread.
            runtime.shutdown_background();
            drop(alive);
        })?;
        Ok(Self { queue, counters, stop, ended })
    }

    /// Queues a span, or drops and counts it.
    pub(super) fn offer(&self, span: SpanData) {
        match self.queue.try_send(span) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => self.counters.dropped_queue_full(1),
            Err(mpsc::error::TrySendError::Closed(_)) => self.counters.dropped_shutdown(1),
        }
    }

    /// Asks the thread to send what is queued and to end by the deadline.
    pub(super) fn retire(&self, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
    }

    /// Waits for the end of the thread, at most until the deadline.
    pub(super) async fn ended(&self, deadline: Instant) {
        let mut ended = self.ended.clone();
        // An error of `changed` is the news: the sender is gone. Past the deadline there is nobody to wait for.
        let _ = timeout_at(deadline, async { while ended.changed().await.is_ok() {} }).await;
    }
}

struct Worker {
    spans: mpsc::Receiver<SpanData>,
    stopped: watch::Receiver<Option<Instant>>,
    exporter: opentelemetry_otlp::SpanExporter,
    counters: Arc<SpanCounters>,
    healthy: bool,
}

impl Worker {
    async fn run(mut self) {
        let mut stopped = self.stopped.clone();
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                deadline = stop_deadline(&mut stopped) => return self.drain(deadline).await,
                taken = self.spans.recv_many(&mut batch, BATCH) => if taken == 0 { return },
            }
            self.gather(&mut batch, &mut stopped).await;
            let count = batch.len() as u64;
            let cut_off = async { sleep_until(stop_deadline(&mut stopped).await).await };
            tokio::select! {
                result = self.exporter.export(batch) => self.record(count, &result),
                () = cut_off => self.counters.dropped_shutdown(count),
            }
        }
    }

    /// Waits for more, until the batch is full, time is up or the end has come.
    async fn gather(&mut self, batch: &mut Vec<SpanData>, stopped: &mut watch::Receiver<Option<Instant>>) {
        let linger = sleep(LINGER);
        tokio::pin!(linger);
        while batch.len() < BATCH {
            tokio::select! {
                () = &mut linger => return,
                _ = stop_deadline(stopped) => return,
                taken = self.spans.recv_many(batch, BATCH - batch.len()) => if taken == 0 { return },
            }
        }
    }

    /// Sends what is left; past the deadline, counts it.
    async fn drain(mut self, deadline: Instant) {
        self.spans.close();
        loop {
            let mut batch = Vec::new();
            if self.spans.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
            let count = batch.len() as u64;
            match timeout_at(deadline, self.exporter.export(batch)).await {
                Ok(result) => self.record(count, &result),
                Err(_) => self.counters.dropped_shutdown(count),
            }
        }
    }

    /// Counts a batch, and logs when the collector goes and when it comes back, not once per batch.
    fn record(&mut self, count: u64, result: &opentelemetry_sdk::error::OTelSdkResult) {
        match result {
            Ok(()) => {
                self.counters.exported(count);
                if !self.healthy {
                    tracing::info!("spans are exported again");
                }
            }
            Err(error) => {
                self.counters.dropped_export_failed(count);
                if self.healthy {
                    tracing::warn!(%error, "spans cannot be exported; they are dropped and counted");
                }
            }
        }
        self.healthy = result.is_ok();
    }
}

/// Waits for the order to end; for ever, if it can no longer come.
async fn stop_deadline(stopped: &mut watch::Receiver<Option<Instant>>) -> Instant {
    match stopped.wait_for(Option::is_some).await.map(|deadline| *deadline) {
        Ok(Some(deadline)) => deadline,
        _ => std::future::pending().await,
    }
}
