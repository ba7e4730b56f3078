//! Asks generators how far they are. (I/O.)
//!
//! Beside the reconciles and not in them: a generator that is slow to answer would hold up one of the few passes
//! that all experiments share. An answer that brings news wakes its experiment.

use super::Watched;
use super::build::jobs;
use crate::caches::Wake;
use crate::children::Children;
use crate::remembered::Remembered;
use bakeoff_crds::identity::Uid;
use bakeoff_crds::names;
use bakeoff_crds::run::{FaultHeard, Progress};
use bakeoff_rules::validate::Remains;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// An answer is not waited for longer.
const TIMEOUT: Duration = Duration::from_millis(800);
/// An answer is not read further, bytes.
const LIMIT: usize = 64 * 1024;
/// A generator is not asked more often, however often its experiment is looked at.
const INTERVAL: Duration = Duration::from_millis(1_500);
/// How long an answer holds when no other one comes.
const HOLDS: Duration = Duration::from_secs(10);

/// What a generator was asked and has answered.
#[derive(Debug, Default)]
pub struct Asked {
    pod: String,
    begun: Option<Instant>,
    answer: Option<(Instant, Progress)>,
}

impl Asked {
    /// The answer that holds, and whether the generator is to be asked again; then it counts as asked.
    fn look(&mut self, pod: &str, now: Instant) -> (Option<Progress>, bool) {
        if self.pod != pod {
            *self = Self {
                pod: pod.to_owned(),
                ..Default::default()
            };
        }
        let since = |at: Instant| now.saturating_duration_since(at);
        let due = self.begun.is_none_or(|begun| since(begun) >= INTERVAL);
        if due {
            self.begun = Some(now);
        }
        let holds = self.answer.as_ref().filter(|(at, _)| since(*at) < HOLDS);
        (holds.map(|(_, progress)| progress.clone()), due)
    }

    /// Keeps an answer, unless another pod is asked by now; whether it brings news.
    fn keep(&mut self, pod: &str, progress: Progress, now: Instant) -> bool {
        if self.pod != pod {
            return false;
        }
        let news = self
            .answer
            .as_ref()
            .is_none_or(|(_, before)| *before != progress);
        self.answer = Some((now, progress));
        news
    }
}

/// What generators have answered, by the uid of their experiment. Losing it is harmless.
#[derive(Clone, Default)]
pub struct Answers(Remembered<Asked>);

impl Answers {
    /// What generator 0 said last, if it runs. Asks it again where it is time, and wakes its experiment by an answer that
    /// brings news.
    pub fn latest(
        &self,
        remains: &Remains,
        children: &Children,
        heard: &FaultHeard,
        wake: &Wake<Watched>,
    ) -> Option<Progress> {
        let (pod, address) = generator(remains, children)?;
        let uid = remains.id.uid.clone();
        let mut answers = self.0.lock();
        let asked = answers.entry(uid.clone()).or_default();
        let (answer, due) = asked.look(&pod, Instant::now());
        drop(answers);
        if due {
            let experiment = ObjectRef::new(&remains.id.name).within(remains.id.namespace.as_str());
            let (answers, wake) = (self.clone(), wake.clone());
            let path = path(heard);
            tokio::spawn(async move {
                match tokio::time::timeout(TIMEOUT, ask(&address, &path)).await {
                    Ok(Ok(progress)) => {
                        if answers.keep_answer(&uid, &pod, progress) {
                            let _ = wake.unbounded_send(experiment);
                        }
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "generator 0 does not answer"),
                    Err(_) => tracing::debug!("generator 0 does not answer in time"),
                }
            });
        }
        answer
    }

    /// Keeps an answer, unless nobody waits for it by now; whether it brings news.
    fn keep_answer(&self, uid: &Uid, pod: &str, progress: Progress) -> bool {
        let mut answers = self.0.lock();
        let asked = answers.get_mut(uid);
        asked.is_some_and(|asked| asked.keep(pod, progress, Instant::now()))
    }

    /// Forgets all experiments but those that still need something.
    pub fn keep(&self, needed: impl Fn(&Uid) -> bool) {
        self.0.keep(needed);
    }
}

/// The uid and the address of generator 0 of the newest attempt.
fn generator(remains: &Remains, children: &Children) -> Option<(String, String)> {
    let job = jobs::run_name(remains, jobs::latest_attempt(remains, children)?);
    children
        .index_zero(&job)
        .find_map(|pod| Some((pod.uid()?, pod.status.as_ref()?.pod_ip.clone()?)))
}

/// What is asked, and said of a fault by the way.
fn path(heard: &FaultHeard) -> String {
    if heard.fault.is_empty() {
        return "/progress".to_owned();
    }
    let mut path = format!("/progress?fault={}", heard.fault);
    let ago = [("madeAgo", heard.made_ago), ("mendedAgo", heard.mended_ago)];
    for (name, millis) in ago {
        path.extend(millis.map(|millis| format!("&{name}={millis}")));
    }
    path
}

async fn ask(address: &str, path: &str) -> anyhow::Result<Progress> {
    let authority = if address.contains(':') {
        format!("[{address}]:{}", names::GENERATOR_PORT)
    } else {
        format!("{address}:{}", names::GENERATOR_PORT)
    };
    let stream = TcpStream::connect(&authority).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with this function, however that ends.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = hyper::Request::get(path)
        .header("host", &authority)
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let body = Limited::new(response.into_body(), LIMIT)
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!("{error}"))?
        .to_bytes();
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(done: i32) -> Progress {
        let mut progress = Progress::default();
        progress.trials.done = done;
        progress
    }

    #[test]
    fn a_generator_is_asked_once_an_interval_and_its_answer_holds_for_a_while() {
        let (mut asked, start) = (Asked::default(), Instant::now());
        assert_eq!(asked.look("a", start), (None, true));
        assert_eq!(asked.look("a", start), (None, false));
        assert!(asked.keep("a", answer(1), start));
        assert!(!asked.keep("a", answer(1), start), "no news");
        assert_eq!(asked.look("a", start + INTERVAL), (Some(answer(1)), true));
        assert_eq!(asked.look("a", start + HOLDS), (None, true));
    }

    #[test]
    fn an_answer_of_another_pod_is_none() {
        let (mut asked, start) = (Asked::default(), Instant::now());
        asked.look("a", start);
        asked.keep("a", answer(1), start);
        assert_eq!(asked.look("b", start), (None, true));
        assert!(!asked.keep("a", answer(2), start));
        assert_eq!(asked.look("b", start).0, None);
    }
}
