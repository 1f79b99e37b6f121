//! What was found in a configuration, told to those who run the proxy.

use crate::{
    config::{Finding, Severity},
    telemetry::metrics::Metrics,
};

/// Logs every warning of the configuration that is served from now on, and counts what was found in it.
pub fn tell(metrics: &Metrics, findings: &[Finding]) {
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Warning) {
        tracing::warn!(code = finding.code, at = finding.at(), "{}", finding.text());
    }
    for severity in Severity::ALL {
        let count = findings.iter().filter(|finding| finding.severity == severity).count();
        metrics.config_findings(severity.word(), count);
    }
}
