//! Leader election by a Lease: a pure rule, how long a leader may act, and a loop around both.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a lease is good for without being renewed.
pub const DURATION_SECONDS: i32 = 15;
const RENEW: Duration = Duration::from_secs(4);
/// The longest that one exchange with the API server may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a leader acts without having renewed. Another replica takes the lease no earlier than
/// `DURATION_SECONDS` after the renewal was stored; what is left of these is for a write that was under way.
const TENURE: Duration = Duration::from_secs(10);

/// Until when this replica may act. Asked before every write: nothing is begun once another may lead.
#[derive(Clone, Debug, Default)]
pub struct Tenure(Arc<Mutex<Option<Instant>>>);

impl Tenure {
    /// The lease was renewed by a request that was sent at this instant: it may have been stored at once, and the
    /// answer may have taken its time.
    fn renewed(&self, asked: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked + TENURE);
    }

    fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn deadline(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this replica leads at this instant.
    #[must_use]
    pub fn is_current(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| now < deadline)
    }
}

/// What to do about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// It is free or has run out: take it.
    Acquire,
    /// It is mine: extend it.
    Renew,
    /// It is another's.
    Yield,
}

/// What to do about a lease that reads like this and has not changed for this long, by the clock of the
/// reader: clocks of other machines are not trusted. (Pure.)
#[must_use]
pub fn evaluate(spec: Option<&LeaseSpec>, me: &str, unchanged: Duration) -> Intent {
    let Some(spec) = spec else {
        return Intent::Acquire;
    };
    match spec.holder_identity.as_deref() {
        None | Some("") => Intent::Acquire,
        Some(holder) if holder == me => Intent::Renew,
        Some(_) => {
            let seconds = spec.lease_duration_seconds.unwrap_or(DURATION_SECONDS);
            let expired = unchanged > Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            if expired {
                Intent::Acquire
            } else {
                Intent::Yield
            }
        }
    }
}

/// Holds the lease as long as it can. Sends `true` once it is held; returns when it is lost or, after
/// `stop`, given back. The tenure ends no later than it returns.
pub async fn hold(
    api: Api<Lease>,
    name: String,
    me: String,
    tenure: Tenure,
    leading: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let mut seen = Seen::default();
    loop {
        let asked = Instant::now();
        let held = tenure.deadline();
        // A leader waits for an answer, and sleeps, no longer than it may lead.
        let at_most = |at: Instant| held.map_or(at, |deadline| at.min(deadline));
        let attempt = attempt(&api, &name, &me, &mut seen);
        match tokio::time::timeout_at(at_most(asked + PATIENCE), attempt).await {
            Ok(Ok(true)) => {
                tenure.renewed(asked);
                let _ = leading.send(true);
            }
            Ok(Ok(false)) if held.is_some() => {
                tracing::error!("another replica took the lease");
                return tenure.end();
            }
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be read or written"),
            Err(_) => tracing::warn!("the API server did not answer about the lease"),
        }
        let held = tenure.deadline();
        // From question to question: a slow answer must not make the next one later.
        let next = asked + RENEW;
        tokio::select! {
            () = stop.cancelled() => {
                tenure.end();
                if held.is_some() {
                    // One that cannot be given back runs out.
                    let _ = tokio::time::timeout(PATIENCE, release(&api, &name, &me)).await;
                }
                return;
            }
            () = tokio::time::sleep_until(held.map_or(next, |deadline| next.min(deadline))) => {}
        }
        if held.is_some_and(|deadline| Instant::now() >= deadline) {
            tracing::error!("the lease could not be renewed in time");
            return tenure.end();
        }
    }
}

/// The renewal that was seen last, and since when it stands.
#[derive(Default)]
struct Seen {
    renewal: Option<Timestamp>,
    since: Option<Instant>,
}

impl Seen {
    fn unchanged(&mut self, spec: Option<&LeaseSpec>) -> Duration {
        let renewal = spec
            .and_then(|spec| spec.renew_time.as_ref())
            .map(|time| time.0);
        if self.since.is_none() || renewal != self.renewal {
            *self = Self {
                renewal,
                since: Some(Instant::now()),
            };
        }
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

async fn attempt(
    api: &Api<Lease>,
    name: &str,
    me: &str,
    seen: &mut Seen,
) -> Result<bool, kube::Error> {
    let now = Timestamp::now();
    let Some(mut lease) = api.get_opt(name).await? else {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..Default::default()
            },
            spec: Some(fresh(me, now, None)),
        };
        return won(api.create(&PostParams::default(), &lease).await);
    };
    let unchanged = seen.unchanged(lease.spec.as_ref());
    match evaluate(lease.spec.as_ref(), me, unchanged) {
        Intent::Yield => Ok(false),
        Intent::Acquire => {
            lease.spec = Some(fresh(me, now, lease.spec.as_ref()));
            won(api.replace(name, &PostParams::default(), &lease).await)
        }
        Intent::Renew => {
            if let Some(spec) = &mut lease.spec {
                spec.renew_time = Some(MicroTime(now));
            }
            won(api.replace(name, &PostParams::default(), &lease).await)
        }
    }
}

fn won(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        // Another replica wrote in between: it won.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

fn fresh(me: &str, now: Timestamp, before: Option<&LeaseSpec>) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: Some(DURATION_SECONDS),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(
            before
                .and_then(|spec| spec.lease_transitions)
                .map_or(0, |n| n.saturating_add(1)),
        ),
        ..Default::default()
    }
}

async fn release(api: &Api<Lease>, name: &str, me: &str) {
    if let Ok(mut lease) = api.get(name).await
        && lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_deref())
            == Some(me)
    {
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
        }
        let _ = api.replace(name, &PostParams::default(), &lease).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(holder: &str, second: i64) -> LeaseSpec {
        let at = MicroTime(Timestamp::from_second(second).unwrap());
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Some(at),
            ..Default::default()
        }
    }

    #[test]
    fn a_lease_is_taken_only_when_free_or_unchanged_for_its_duration() {
        let seconds = Duration::from_secs;
        assert_eq!(evaluate(None, "me", seconds(0)), Intent::Acquire);
        assert_eq!(
            evaluate(Some(&spec("", 999)), "me", seconds(0)),
            Intent::Acquire
        );
        assert_eq!(
            evaluate(Some(&spec("me", 1)), "me", seconds(99)),
            Intent::Renew
        );
        assert_eq!(
            evaluate(Some(&spec("other", 990)), "me", seconds(15)),
            Intent::Yield
        );
        assert_eq!(
            evaluate(Some(&spec("other", 990)), "me", seconds(16)),
            Intent::Acquire
        );
    }

    #[test]
    fn a_renewal_starts_the_wait_anew_whatever_the_clocks_say() {
        let mut seen = Seen::default();
        let first = Instant::now();
        seen.unchanged(Some(&spec("other", 1)));
        seen.since = first.checked_sub(Duration::from_secs(60));
        assert!(seen.unchanged(Some(&spec("other", 1))) >= Duration::from_secs(60));
        assert!(seen.unchanged(Some(&spec("other", 2))) < Duration::from_secs(5));
    }

    /// A server that keeps one lease. A client may be cut off from it, with or without its writes arriving.
    #[derive(Clone, Default)]
    struct Server(Arc<Mutex<Option<Lease>>>);

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Line {
        Fine,
        /// Requests are lost.
        Lost,
        /// Requests arrive and their answers are lost.
        Deaf,
        /// Answers take so many seconds.
        Slow(u64),
    }

    type Answer = http::Response<kube::client::Body>;

    impl Server {
        fn answer(&self, method: &http::Method, body: &[u8]) -> Answer {
            let mut lease = self.0.lock().unwrap();
            let version = |lease: &Option<Lease>| {
                let version = lease
                    .as_ref()
                    .and_then(|l| l.metadata.resource_version.clone());
                version.map_or(0_u64, |v| v.parse().unwrap())
            };
            let failed = |code: u16, reason: &str| {
                let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                    "code": code, "reason": reason, "message": reason});
                let body = serde_json::to_vec(&status).unwrap();
                http::Response::builder()
                    .status(code)
                    .body(body.into())
                    .unwrap()
            };
            if *method != http::Method::GET {
                let mut wanted: Lease = serde_json::from_slice(body).unwrap();
                let read = wanted
                    .metadata
                    .resource_version
                    .as_deref()
                    .map(|v| v.parse().unwrap());
                if read.unwrap_or(0) != version(&lease) {
                    return failed(409, "Conflict");
                }
                wanted.metadata.resource_version = Some((version(&lease) + 1).to_string());
                *lease = Some(wanted);
            }
            match &*lease {
                Some(lease) => {
                    let mut lease = serde_json::to_value(lease).unwrap();
                    lease["kind"] = "Lease".into();
                    lease["apiVersion"] = "coordination.k8s.io/v1".into();
                    let body = serde_json::to_vec(&lease).unwrap();
                    http::Response::new(body.into())
                }
                None => failed(404, "NotFound"),
            }
        }

        /// A replica that tries to hold the lease, how it is reached, and how long it may act.
        fn replica(&self, name: &str) -> (watch::Sender<Line>, Tenure) {
            let (line, is) = watch::channel(Line::Fine);
            let server = self.clone();
            let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
                let (server, line) = (server.clone(), *is.borrow());
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect_bytes().await?;
                    if line == Line::Lost {
                        std::future::pending::<()>().await;
                    }
                    let answer = server.answer(&parts.method, &body);
                    match line {
                        Line::Deaf => std::future::pending().await,
                        Line::Slow(seconds) => {
                            tokio::time::sleep(Duration::from_secs(seconds)).await
                        }
                        Line::Fine | Line::Lost => {}
                    }
                    Ok::<_, kube::Error>(answer)
                }
            });
            let api = Api::namespaced(kube::Client::new(service, "system"), "system");
            let (tenure, (leading, _)) = (Tenure::default(), watch::channel(false));
            let (me, held) = (name.to_owned(), tenure.clone());
            tokio::spawn(hold(
                api,
                "lease".into(),
                me,
                held,
                leading,
                CancellationToken::new(),
            ));
            (line, tenure)
        }
    }

    /// Whenever the line of the leader fails, and in whatever way: never two at the same time, and soon the other one.
    #[tokio::test(start_paused = true)]
    async fn no_two_replicas_lead_at_any_instant() {
        for fault in [Line::Lost, Line::Deaf, Line::Slow(2), Line::Slow(9)] {
            for phase in (0..4_000_u64).step_by(500) {
                for delay in (0..4_000_u64).step_by(1_000) {
                    fail(fault, phase, delay).await;
                }
            }
        }
    }

    /// Another replica looks at the lease `phase` later than the leader, whose line fails after `delay`, milliseconds.
    async fn fail(fault: Line, phase: u64, delay: u64) {
        let case = format!("{fault:?}, {phase} ms apart, after {delay} ms");
        let server = Server::default();
        let (line, first) = server.replica("first");
        tokio::time::sleep(Duration::from_millis(100 + phase)).await;
        let (_other, second) = server.replica("second");
        tokio::time::sleep(Duration::from_millis(20_000 + delay)).await;
        assert!(first.is_current(Instant::now()) && !second.is_current(Instant::now()));
        line.send(fault).unwrap();
        let mut taken = false;
        for _ in 0..400 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = Instant::now();
            let both = first.is_current(now) && second.is_current(now);
            assert!(!both, "two leaders: {case}");
            taken |= second.is_current(now);
        }
        // One that is slow but in time goes on leading.
        let keeps = fault == Line::Slow(2);
        assert_eq!(
            (taken, first.is_current(Instant::now())),
            (!keeps, keeps),
            "{case}"
        );
    }

    /// What a write that was begun in time may take before another replica can lead.
    #[test]
    fn a_leader_stops_well_before_another_may_begin() {
        let duration = Duration::from_secs(u64::try_from(DURATION_SECONDS).unwrap());
        assert!(TENURE + PATIENCE <= duration);
        assert!(RENEW + PATIENCE < TENURE);
    }
}
