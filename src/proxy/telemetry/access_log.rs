//! One line per request, written by a thread of its own. Who serves hands a line over and never waits: where there
//! is no room for it, it is dropped and counted.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use http::{Method, Uri, Version};

use super::counters::count;
use super::redact::redacted;

/// Lines that wait for the thread: some 100 ms of a busy proxy.
const ROOM: usize = 8 * 1024;
/// How long the end of the log waits for its last lines.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A JSON object.
    Json,
    /// Apache's "combined", followed by the seconds that the request took.
    Combined,
}

/// A request and how it went, as it was seen: text is made of it only when it is written.
#[derive(Debug)]
pub(crate) struct Line {
    pub at_ms: i64,
    pub client: Box<str>,
    pub method: Method,
    pub target: Uri,
    pub version: Version,
    pub status: u16,
    pub sent: u64,
    pub took: Duration,
    pub referer: Option<Bytes>,
    pub agent: Option<Bytes>,
}

#[derive(Debug)]
enum Told {
    Line(Box<Line>),
    /// All before it is to be written, and then this.
    End(SyncSender<()>),
}

/// Where lines are handed over.
#[derive(Debug)]
pub struct AccessLog {
    lines: SyncSender<Told>,
    dropped: AtomicU64,
}

impl AccessLog {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// When the machine has no thread left.
    pub fn start(format: LogFormat, out: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, told) = sync_channel(ROOM);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || write(format, out, &told))?;
        Ok(Self { lines, dropped: AtomicU64::new(0) })
    }

    pub(crate) fn tell(&self, line: Box<Line>) {
        if self.lines.try_send(Told::Line(line)).is_err() {
            count(&self.dropped);
        }
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was told before is written, for 2 s at most. Blocks: not for a thread that serves.
    pub fn flush(&self) {
        let (written, ended) = sync_channel(1);
        if self.lines.send(Told::End(written)).is_ok() {
            let _ = ended.recv_timeout(PATIENCE);
        }
    }
}

fn write(format: LogFormat, out: impl Write, told: &Receiver<Told>) {
    let mut out = BufWriter::with_capacity(64 * 1024, out);
    let mut failed = false;
    while let Ok(first) = told.recv() {
        let mut next = Some(first);
        let outcome = loop {
            let result = match next {
                Some(Told::Line(line)) => line.write(format, &mut out),
                Some(Told::End(written)) => {
                    let result = out.flush();
                    let _ = written.send(());
                    result
                }
                None => break out.flush(),
            };
            if result.is_err() {
                break result;
            }
            next = told.try_recv().ok();
        };
        if let Err(error) = &outcome
            && !failed
        {
            tracing::error!(%error, "cannot write the access log; its lines are lost until it can be written");
        }
        failed = outcome.is_err();
    }
}

impl Line {
    fn write(&self, format: LogFormat, out: &mut impl Write) -> io::Result<()> {
        let at = DateTime::from_timestamp_millis(self.at_ms).unwrap_or_default();
        let target = redacted(&self.target.to_string());
        let text = |value: &Option<Bytes>| value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
        let referer = text(&self.referer).map(|referer| redacted(&referer));
        let agent = text(&self.agent);
        let (method, seconds) = (self.method.as_str(), self.took.as_secs_f64());
        match format {
            LogFormat::Json => {
                let line = serde_json::json!({
                    "time": at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
                    "client": self.client,
                    "method": method,
                    "target": target,
                    "protocol": format!("{:?}", self.version),
                    "status": self.status,
                    "bytes": self.sent,
                    "seconds": seconds,
                    "referer": referer,
                    "agent": agent,
                });
                writeln!(out, "{line}")
            }
            LogFormat::Combined => writeln!(
                out,
                "{} - - [{}] \"{method} {} {:?}\" {} {} \"{}\" \"{}\" {seconds:.6}",
                self.client,
                at.format("%d/%b/%Y:%H:%M:%S %z"),
                quotable(&target),
                self.version,
                self.status,
                self.sent,
                quotable(referer.as_deref().unwrap_or("-")),
                quotable(agent.as_deref().unwrap_or("-")),
            ),
        }
    }
}

/// Nothing that a client sends may end a quoted field, or the line.
fn quotable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    fn line(target: &'static str) -> Box<Line> {
        Box::new(Line {
            at_ms: 1_700_000_000_123,
            client: "10.0.0.9".into(),
            method: Method::GET,
            target: Uri::from_static(target),
            version: Version::HTTP_11,
            status: 200,
            sent: 5,
            took: Duration::from_micros(1_500),
            referer: Some(Bytes::from_static(b"http://h/lab?token=secret&x=1")),
            agent: Some(Bytes::from_static(b"a \"quoted\" \\ agent")),
        })
    }

    fn written(format: LogFormat) -> String {
        let mut out = vec![];
        line("/cluster-678343/lab?a=1&token=secret").write(format, &mut out).expect("to memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn the_combined_form_is_apaches_and_the_seconds() {
        assert_eq!(
            written(LogFormat::Combined),
            "10.0.0.9 - - [14/Nov/2023:22:13:20 +0000] \"GET /cluster-678343/lab?a=1&token=[redacted] HTTP/1.1\" 200 5 \
             \"http://h/lab?token=[redacted]&x=1\" \"a \\\"quoted\\\" \\\\ agent\" 0.001500\n"
        );
    }

    #[test]
    fn a_line_of_json_is_one_object() {
        let text = written(LogFormat::Json);
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["time"], "2023-11-14T22:13:20.123Z");
        assert_eq!(value["target"], "/cluster-678343/lab?a=1&token=[redacted]");
        assert_eq!(
            (&value["status"], &value["bytes"], &value["seconds"]),
            (&200.into(), &5.into(), &0.0015.into())
        );
        assert!(text.ends_with("}\n") && !text.contains("secret"), "{text}");
    }

    /// Takes nothing before it is let go.
    struct Stuck(std::sync::Arc<std::sync::Mutex<()>>, Sender<usize>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _let_go = self.0.lock();
            let _ = self.1.send(bytes.iter().filter(|&&b| b == b'\n').count());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_cannot_be_written_fast_enough_loses_lines_and_counts_them() {
        const MANY: u64 = 3 * ROOM as u64;
        let (gate, (sender, lines)) = (std::sync::Arc::new(std::sync::Mutex::new(())), channel());
        let held = gate.lock().expect("no panic");
        let log =
            AccessLog::start(LogFormat::Combined, Stuck(std::sync::Arc::clone(&gate), sender)).expect("a thread");
        for _ in 0..MANY {
            log.tell(line("/"));
        }
        let dropped = log.dropped();
        assert!(dropped > 0 && dropped < MANY, "{dropped}");
        drop(held);
        log.flush();
        drop(log);
        assert_eq!(lines.iter().sum::<usize>() as u64 + dropped, MANY);
    }
}
