//! Does what a plan asks for. (I/O.)

use crate::context::{Context, Seat};
use crate::controllers::experiment::facts::Kind;
use crate::controllers::experiment::observe::node_labels;
use crate::controllers::experiment::plan::{self, Action, Child, Credentials, Note, Plan};
use crate::error::{Error, api, exists_already, is_going_away, is_missing};
use crate::metrics::{Reason, TrialOutcome};
use crate::settings::DefaultResults;
use bakeoff_crds::{Experiment, ExperimentStatus, names};
use bakeoff_rules::queue;
use futures::future::try_join_all;
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::runtime::events::{Event, EventType};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::{Duration, Instant};

/// At most one write of an experiment's status in this time, unless a fact must be remembered.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);

/// Does what the plan asks for; returns when to look again at the latest.
///
/// # Errors
/// The API server refused; everything that was done may be done again.
pub async fn execute(
    experiment: &Experiment,
    plan: Plan,
    ctx: &Context,
) -> Result<Option<Duration>, Error> {
    let mut wait = plan.look_again_at.map(|at| {
        let left = at.duration_since(jiff::Timestamp::now());
        Duration::try_from(left)
            .unwrap_or(Duration::ZERO)
            .max(Duration::from_millis(100))
    });
    if let Some(early) = write_status(experiment, &plan, ctx).await? {
        wait = Some(wait.map_or(early, |wait| wait.min(early)));
    }
    let Plan {
        events, actions, ..
    } = plan;
    // What is told of the transition need not wait for what follows from it.
    let ((), acted) = tokio::join!(
        publish(experiment, &events, ctx),
        act_in_steps(experiment, actions, ctx)
    );
    Ok(if acted? { Some(Duration::ZERO) } else { wait })
}

/// Does what belongs to this pass; whether something is left for the next one.
async fn act_in_steps(
    experiment: &Experiment,
    actions: Vec<Action>,
    ctx: &Context,
) -> Result<bool, Error> {
    let (steps, more) = plan::pass(actions);
    for step in steps {
        let acts = step.into_iter().map(|action| act(experiment, action, ctx));
        try_join_all(acts).await?;
    }
    Ok(more)
}

/// Tells what has changed. One that cannot be told is said in the log: the conditions stand in any case.
async fn publish(experiment: &Experiment, notes: &[Note], ctx: &Context) {
    for note in notes {
        if ctx.leads().is_err() {
            return;
        }
        let event = Event {
            type_: if note.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: note.reason.clone(),
            note: Some(note.message.clone()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = ctx
            .recorder
            .publish(&event, &experiment.object_ref(&()))
            .await
        {
            tracing::warn!(%error, reason = %note.reason, "an event could not be published");
        }
    }
}

/// Writes the status unless it stands already.
async fn write_status(
    experiment: &Experiment,
    plan: &Plan,
    ctx: &Context,
) -> Result<Option<Duration>, Error> {
    let before = experiment.status.clone().unwrap_or_default();
    if plan.status == before {
        return Ok(None);
    }
    let uid = experiment.uid().unwrap_or_default();
    if !plan.remember && plan.events.is_empty() {
        let last = ctx.memory().written.get(&uid).copied();
        if let Some(left) = last.and_then(|at| STATUS_INTERVAL.checked_sub(at.elapsed())) {
            return Ok(Some(left));
        }
    }
    let starts = plan.status.start_time.is_some() && before.start_time.is_none();
    let seat = starts
        .then(|| take_seat(experiment, &uid, ctx))
        .transpose()?;
    ctx.leads()?;
    // Against the version that was read, always: an apply from a stale cache would take away facts that
    // were remembered meanwhile.
    let metadata = json!({
        "name": experiment.name_any(), "uid": uid, "resourceVersion": experiment.resource_version(),
    });
    let body = json!({
        "apiVersion": Experiment::api_version(&()), "kind": Experiment::kind(&()),
        "metadata": metadata, "status": plan.status,
    });
    let written = namespaced::<Experiment>(experiment, ctx)
        .patch_status(
            &experiment.name_any(),
            &PatchParams::apply(names::FIELD_MANAGER).force(),
            &Patch::Apply(&body),
        )
        .await
        .map_err(api("write the status"));
    ctx.metrics.status_writes.inc();
    if written.is_ok() {
        ctx.memory().written.insert(uid.clone(), Instant::now());
    }
    // Where no answer came the start may stand all the same.
    if let Some(seat) = seat
        && !matches!(&written, Err(error) if error.is_refusal())
    {
        seat.keep();
    }
    written?;
    after_write(&before, &plan.status, &uid, ctx);
    Ok(None)
}

/// Takes the seat in the pool that the start needs.
fn take_seat<'a>(experiment: &Experiment, uid: &str, ctx: &'a Context) -> Result<Seat<'a>, Error> {
    let labels = node_labels(ctx);
    let experiments = ctx.experiments.state();
    ctx.seat(uid, |admitted| {
        queue::admit(experiment, &experiments, admitted, &labels)
    })
}

/// Gives the pool back and counts, once an experiment has ended or is suspended.
fn after_write(before: &ExperimentStatus, after: &ExperimentStatus, uid: &str, ctx: &Context) {
    let ended = after.completion_time.is_some() && before.completion_time.is_none();
    let suspended = after.start_time.is_none() && before.start_time.is_some();
    if !ended && !suspended {
        return;
    }
    forget(uid, ctx);
    if ended {
        let trials = after
            .progress
            .as_ref()
            .map(|progress| progress.trials)
            .unwrap_or_default();
        let counts = [
            ("done", trials.done),
            ("invalid", trials.invalid),
            ("repeated", trials.repeated),
            ("interrupted", trials.interrupted),
        ];
        for (outcome, count) in counts {
            let count = u64::try_from(count).unwrap_or(0);
            ctx.metrics
                .trials
                .get_or_create(&TrialOutcome { outcome })
                .inc_by(count);
        }
        if let Some(decision) = &after.decision {
            let reason = decision.outcome.as_str().to_owned();
            ctx.metrics
                .decisions
                .get_or_create(&Reason { reason })
                .inc();
        }
    }
}

/// Forgets an experiment that no longer needs its pool, and wakes those that wait.
pub fn forget(uid: &str, ctx: &Context) {
    ctx.memory().forget(uid);
    wake_waiting(ctx);
}

/// Forgets the experiments that exist no longer, and wakes those that wait.
pub fn forget_deleted(ctx: &Context) {
    let experiments = ctx.experiments.state();
    let left: BTreeSet<String> = experiments.iter().filter_map(|e| e.uid()).collect();
    ctx.memory().keep(|uid| left.contains(uid));
    wake_waiting(ctx);
}

/// Wakes the experiments that have not started.
pub fn wake_waiting(ctx: &Context) {
    for other in ctx.experiments.state() {
        if other
            .status
            .as_ref()
            .is_none_or(|status| status.start_time.is_none())
        {
            let _ = ctx.wake.unbounded_send(ObjectRef::from_obj(&*other));
        }
    }
}

async fn act(experiment: &Experiment, action: Action, ctx: &Context) -> Result<(), Error> {
    ctx.leads()?;
    let uid = experiment.uid().unwrap_or_default();
    let made = action.made();
    match action {
        Action::Apply(child) => apply_child(experiment, child, ctx).await?,
        Action::CreateSecret(secret, content) => {
            create_secret(experiment, *secret, content, ctx).await?;
        }
        Action::Delete(kind, name) => {
            delete_child(experiment, kind, &name, ctx).await?;
            ctx.memory().made.remove(&uid, kind, &name);
        }
        Action::Finalizer(on) => finalizer(experiment, on, ctx).await?,
        Action::DeleteExperiment => {
            delete::<Experiment>(experiment, &experiment.name_any(), ctx).await?;
        }
    }
    if let Some((kind, name)) = made {
        let now = Instant::now();
        ctx.memory().made.insert(&uid, kind, name, now);
    }
    Ok(())
}

async fn apply_child(experiment: &Experiment, child: Child, ctx: &Context) -> Result<(), Error> {
    match child {
        Child::StatefulSet(object) => apply(experiment, &*object, ctx).await,
        Child::Service(object) => apply(experiment, &*object, ctx).await,
        Child::ConfigMap(object) => apply(experiment, &*object, ctx).await,
        Child::Job(object) => apply(experiment, &*object, ctx).await,
        Child::NetworkPolicy(object) => apply(experiment, &*object, ctx).await,
        Child::DisruptionBudget(object) => apply(experiment, &*object, ctx).await,
    }
}

async fn delete_child(
    experiment: &Experiment,
    kind: Kind,
    name: &str,
    ctx: &Context,
) -> Result<(), Error> {
    match kind {
        Kind::Job => delete::<Job>(experiment, name, ctx).await,
        Kind::StatefulSet => delete::<StatefulSet>(experiment, name, ctx).await,
        Kind::Service => delete::<Service>(experiment, name, ctx).await,
        Kind::ConfigMap => delete::<ConfigMap>(experiment, name, ctx).await,
        Kind::NetworkPolicy => delete::<NetworkPolicy>(experiment, name, ctx).await,
        Kind::DisruptionBudget => delete::<PodDisruptionBudget>(experiment, name, ctx).await,
        Kind::Claim => delete::<PersistentVolumeClaim>(experiment, name, ctx).await,
        Kind::Secret => delete::<Secret>(experiment, name, ctx).await,
    }
}

fn namespaced<K>(experiment: &Experiment, ctx: &Context) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    Api::namespaced(
        ctx.client.clone(),
        &experiment.namespace().unwrap_or_default(),
    )
}

async fn apply<K>(experiment: &Experiment, object: &K, ctx: &Context) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug,
{
    let name = object.name_any();
    let applied = namespaced::<K>(experiment, ctx)
        .patch(
            &name,
            &PatchParams::apply(names::FIELD_MANAGER).force(),
            &Patch::Apply(object),
        )
        .await;
    match applied {
        Ok(_) => Ok(()),
        // The experiment is being deleted with its namespace: there is nothing left to do well there. It counts as
        // made, or it would be tried again at once.
        Err(error) if is_going_away(&error) => {
            tracing::info!(%name, "not made: its namespace is being deleted");
            Ok(())
        }
        Err(error) => Err(api(format!("apply {} {name}", K::kind(&())))(error)),
    }
}

async fn delete<K>(experiment: &Experiment, name: &str, ctx: &Context) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + DeserializeOwned
        + Clone
        + Debug,
{
    let parameters = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        ..Default::default()
    };
    match namespaced::<K>(experiment, ctx)
        .delete(name, &parameters)
        .await
    {
        Ok(_) => Ok(()),
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) => Err(api(format!("delete {} {name}", K::kind(&())))(error)),
    }
}

/// A Secret that exists is left alone: credentials are drawn once.
async fn create_secret(
    experiment: &Experiment,
    mut secret: Secret,
    content: Credentials,
    ctx: &Context,
) -> Result<(), Error> {
    let (access_key, secret_key) = match content {
        Credentials::Drawn => (random_hex(10)?, random_hex(20)?),
        Credentials::OfResultsStore => match &ctx.settings.results {
            Some(store) => credentials_of(store, ctx).await?,
            None => return Ok(()),
        },
    };
    secret.data = Some(BTreeMap::from([
        (names::SECRET_ACCESS_KEY_ID.to_owned(), access_key),
        (names::SECRET_SECRET_ACCESS_KEY.to_owned(), secret_key),
    ]));
    let parameters = PostParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..Default::default()
    };
    // The credentials may have been read from another Secret meanwhile.
    ctx.leads()?;
    match namespaced::<Secret>(experiment, ctx)
        .create(&parameters, &secret)
        .await
    {
        Ok(_) => Ok(()),
        Err(error) if exists_already(&error) || is_going_away(&error) => Ok(()),
        Err(error) => Err(api(format!("create Secret {}", secret.name_any()))(error)),
    }
}

/// The access key and the secret key of the chart's results store.
async fn credentials_of(
    store: &DefaultResults,
    ctx: &Context,
) -> Result<(ByteString, ByteString), Error> {
    let own: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.settings.namespace);
    let source = own
        .get(&store.secret)
        .await
        .map_err(api(format!("read Secret {}", store.secret)))?;
    let mut data = source.data.unwrap_or_default();
    let mut take = |key| {
        data.remove(key)
            .ok_or_else(|| Error::ResultsSecret(store.secret.clone()))
    };
    Ok((
        take(names::SECRET_ACCESS_KEY_ID)?,
        take(names::SECRET_SECRET_ACCESS_KEY)?,
    ))
}

/// Random bytes of the operating system, in hexadecimal.
fn random_hex(bytes: usize) -> Result<ByteString, Error> {
    let mut buffer = vec![0_u8; bytes];
    getrandom::fill(&mut buffer).map_err(|error| Error::Random(error.to_string()))?;
    let text: String = buffer.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(ByteString(text.into_bytes()))
}

/// Puts the finalizer on or takes it off, against the version that was read: other finalizers stay.
async fn finalizer(experiment: &Experiment, on: bool, ctx: &Context) -> Result<(), Error> {
    let mut finalizers: Vec<String> = experiment
        .finalizers()
        .iter()
        .filter(|finalizer| *finalizer != names::FINALIZER)
        .cloned()
        .collect();
    if on {
        finalizers.push(names::FINALIZER.to_owned());
    }
    let patch = json!({"metadata": {"resourceVersion": experiment.resource_version(), "finalizers": finalizers}});
    let result = namespaced::<Experiment>(experiment, ctx)
        .patch(
            &experiment.name_any(),
            &PatchParams::default(),
            &Patch::Merge(&patch),
        )
        .await;
    match result {
        Ok(_) => Ok(()),
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) => Err(api("change the finalizers")(error)),
    }
}
