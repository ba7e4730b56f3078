//! Leader election by a Lease: a pure rule and a loop around it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a lease is good for without being renewed.
pub const DURATION_SECONDS: i32 = 15;
const RENEW: Duration = Duration::from_secs(4);

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

/// What to do about a lease that reads like this. (Pure.)
#[must_use]
pub fn evaluate(spec: Option<&LeaseSpec>, me: &str, now: Timestamp) -> Step {
    let Some(spec) = spec else {
        return Step::Acquire;
    };
    match spec.holder_identity.as_deref() {
        None | Some("") => Step::Acquire,
        Some(holder) if holder == me => Step::Renew,
        Some(_) => {
            let seconds = i64::from(spec.lease_duration_seconds.unwrap_or(DURATION_SECONDS));
            let renewed = spec.renew_time.as_ref().map(|time| time.0);
            let expired = renewed
                .is_none_or(|at| now.duration_since(at) > SignedDuration::from_secs(seconds));
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
    let mut last_renewed: Option<Timestamp> = None;
    loop {
        match attempt(&api, &name, &me).await {
            Ok(true) => {
                last_renewed = Some(Timestamp::now());
                let _ = leading.send(true);
            }
            Ok(false) if last_renewed.is_some() => {
                tracing::error!("another replica took the lease");
                return;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "the lease could not be read or written");
                let patience = SignedDuration::from_secs(i64::from(DURATION_SECONDS) - 5);
                if last_renewed.is_some_and(|at| Timestamp::now().duration_since(at) > patience) {
                    tracing::error!("the lease could not be renewed in time");
                    return;
                }
            }
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

async fn attempt(api: &Api<Lease>, name: &str, me: &str) -> Result<bool, kube::Error> {
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
    match evaluate(lease.spec.as_ref(), me, now) {
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
    fn a_lease_is_taken_only_when_free_or_expired() {
        let now = Timestamp::from_second(1_000).unwrap();
        assert_eq!(evaluate(None, "me", now), Step::Acquire);
        assert_eq!(evaluate(Some(&spec("", 999)), "me", now), Step::Acquire);
        assert_eq!(evaluate(Some(&spec("me", 1)), "me", now), Step::Renew);
        assert_eq!(evaluate(Some(&spec("other", 990)), "me", now), Step::Yield);
        assert_eq!(
            evaluate(Some(&spec("other", 984)), "me", now),
            Step::Acquire
        );
    }

    #[test]
    fn a_clock_that_jumps_back_does_not_take_a_lease() {
        let now = Timestamp::from_second(900).unwrap();
        assert_eq!(
            evaluate(Some(&spec("other", 1_000)), "me", now),
            Step::Yield
        );
    }
}
