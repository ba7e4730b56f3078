//! Leader election by a Lease: a pure rule and a loop around it.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a lease is good for without being renewed.
pub const DURATION_SECONDS: i32 = 15;
const RENEW: Duration = Duration::from_secs(4);
/// The longest that one exchange with the API server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to do about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
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
pub fn evaluate(spec: Option<&LeaseSpec>, me: &str, unchanged: Duration) -> Step {
    let Some(spec) = spec else {
        return Step::Acquire;
    };
    match spec.holder_identity.as_deref() {
        None | Some("") => Step::Acquire,
        Some(holder) if holder == me => Step::Renew,
        Some(_) => {
            let seconds = spec.lease_duration_seconds.unwrap_or(DURATION_SECONDS);
            let expired = unchanged > Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            if expired { Step::Acquire } else { Step::Yield }
        }
    }
}

/// Holds the lease as long as it can. Sends `true` once it is held; returns when it is lost or, after
/// `stop`, given back.
pub async fn hold(
    api: Api<Lease>,
    name: String,
    me: String,
    leading: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let mut last_renewed: Option<Instant> = None;
    let mut seen = Seen::default();
    loop {
        let asked = tokio::time::timeout(PATIENCE, attempt(&api, &name, &me, &mut seen)).await;
        match asked {
            Ok(Ok(true)) => {
                last_renewed = Some(Instant::now());
                let _ = leading.send(true);
            }
            Ok(Ok(false)) if last_renewed.is_some() => {
                tracing::error!("another replica took the lease");
                return;
            }
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be read or written"),
            Err(_) => tracing::warn!("the API server did not answer about the lease"),
        }
        // Before another replica may take it.
        let limit = Duration::from_secs(u64::try_from(DURATION_SECONDS).unwrap_or(0))
            .saturating_sub(PATIENCE);
        if last_renewed.is_some_and(|at| at.elapsed() > limit) {
            tracing::error!("the lease could not be renewed in time");
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {
                if last_renewed.is_some() {
                    release(&api, &name, &me).await;
                }
                return;
            }
            () = tokio::time::sleep(RENEW) => {}
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
        Step::Yield => Ok(false),
        Step::Acquire => {
            lease.spec = Some(fresh(me, now, lease.spec.as_ref()));
            won(api.replace(name, &PostParams::default(), &lease).await)
        }
        Step::Renew => {
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
        assert_eq!(evaluate(None, "me", seconds(0)), Step::Acquire);
        assert_eq!(
            evaluate(Some(&spec("", 999)), "me", seconds(0)),
            Step::Acquire
        );
        assert_eq!(
            evaluate(Some(&spec("me", 1)), "me", seconds(99)),
            Step::Renew
        );
        assert_eq!(
            evaluate(Some(&spec("other", 990)), "me", seconds(15)),
            Step::Yield
        );
        assert_eq!(
            evaluate(Some(&spec("other", 990)), "me", seconds(16)),
            Step::Acquire
        );
    }

    #[test]
    fn a_renewal_starts_the_wait_anew_whatever_the_clocks_say() {
        let mut seen = Seen::default();
        let first = Instant::now();
        seen.unchanged(Some(&spec("other", 1)));
        seen.since = Some(first - Duration::from_secs(60));
        assert!(seen.unchanged(Some(&spec("other", 1))) >= Duration::from_secs(60));
        assert!(seen.unchanged(Some(&spec("other", 2))) < Duration::from_secs(5));
    }
}
