//! Makes, ends and removes the experiments of an owner. (I/O.)

use super::Writer;
use crate::error::{Error, api, exists_already, is_missing};
use crate::owner;
use bakeoff_crds::identity::Identity;
use bakeoff_crds::{Experiment, names};
use kube::api::{
    DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use kube::{Resource, ResourceExt};
use serde_json::json;

/// What the API server last said of a run that it was asked to make and that is not seen yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is there, and will be seen soon.
    Made,
    /// An Experiment of its name is there that another has made.
    Taken,
    /// It was refused, in these words.
    Refused(String),
}

impl Writer {
    /// Makes a run of an owner of the kind `K`. What was made stays as it is: nobody writes its spec again.
    ///
    /// # Errors
    /// The API server did not answer, or another replica may lead; it may be asked again.
    pub async fn create_run<K>(&self, id: &Identity, run: &Experiment) -> Result<Answer, Error>
    where
        K: Resource<DynamicType = ()>,
    {
        let experiments = self.api::<Experiment>(id.namespace.as_str())?;
        let parameters = PostParams {
            field_manager: Some(names::FIELD_MANAGER.to_owned()),
            dry_run: false,
        };
        let name = run.name_any();
        let error = match experiments.create(&parameters, run).await {
            Ok(_) => return Ok(Answer::Made),
            Err(error) => error,
        };
        if exists_already(&error) {
            let there = experiments.get_metadata_opt(&name).await;
            let there = there.map_err(api(format!("read Experiment {name}")))?;
            return Ok(match there {
                Some(there) => namesake::<K>(&there.metadata, &name, id),
                None => being_removed(&name),
            });
        }
        let error = api(format!("create Experiment {name}"))(error);
        if error.is_refusal() {
            Ok(Answer::Refused(error.to_string()))
        } else {
            Err(error)
        }
    }

    /// Whether the API server would take an experiment, by its schema, its rules and whatever else admits objects here; if not,
    /// why.
    ///
    /// # Errors
    /// It did not answer, or another replica may lead.
    pub async fn would_take(
        &self,
        id: &Identity,
        run: &Experiment,
    ) -> Result<Result<(), String>, Error> {
        let experiments = self.api::<Experiment>(id.namespace.as_str())?;
        let parameters = PostParams {
            field_manager: Some(names::FIELD_MANAGER.to_owned()),
            dry_run: true,
        };
        let Err(error) = experiments.create(&parameters, run).await else {
            return Ok(Ok(()));
        };
        let error = api("try the template")(error);
        if error.is_refusal() {
            Ok(Err(error.to_string()))
        } else {
            Err(error)
        }
    }

    /// Tells a run to end, and no other of its name.
    ///
    /// # Errors
    /// The API server did not answer, or another replica may lead; it may be asked again.
    pub async fn cancel_run(&self, id: &Identity, name: &str, uid: &str) -> Result<(), Error> {
        let patch = json!({"metadata": {"uid": uid}, "spec": {"cancel": true}});
        let parameters = PatchParams {
            field_manager: Some(names::FIELD_MANAGER.to_owned()),
            ..Default::default()
        };
        let experiments = self.api::<Experiment>(id.namespace.as_str())?;
        let result = experiments
            .patch(name, &parameters, &Patch::Merge(&patch))
            .await;
        or_gone(result, || format!("cancel Experiment {name}"))
    }

    /// Removes a run, and no other of its name.
    ///
    /// # Errors
    /// The API server did not answer, or another replica may lead; it may be asked again.
    pub async fn delete_run(&self, id: &Identity, name: &str, uid: &str) -> Result<(), Error> {
        let parameters = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..Default::default()
        };
        let experiments = self.api::<Experiment>(id.namespace.as_str())?;
        let result = experiments.delete(name, &parameters).await;
        or_gone(result, || format!("delete Experiment {name}"))
    }
}

/// What is gone, and perhaps has another one in its place, is no error.
fn or_gone<T>(result: Result<T, kube::Error>, what: impl Fn() -> String) -> Result<(), Error> {
    match result {
        Err(error) if !is_missing(&error) && !exists_already(&error) => Err(api(what())(error)),
        _ => Ok(()),
    }
}

/// What it means that an Experiment of the name of a run is there already. That of an owner of the same name, who was deleted and
/// applied again, goes with that owner, whether it is marked for it yet or not, so it only has to be waited for; and so does whatever
/// else is on its way out. One that was orphaned has no owner any more, and stays. (Pure.)
fn namesake<K>(there: &ObjectMeta, name: &str, id: &Identity) -> Answer
where
    K: Resource<DynamicType = ()>,
{
    let going = there.deletion_timestamp.is_some();
    match owner::controller::<K>(there) {
        Some((_, uid)) if uid == id.uid.as_str() => Answer::Made,
        Some((owner, _)) if owner == id.name => being_removed(name),
        _ if going => being_removed(name),
        _ => Answer::Taken,
    }
}

/// A later pass makes it.
fn being_removed(name: &str) -> Answer {
    Answer::Refused(format!("Experiment {name} is being removed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakeoff_crds::ExperimentSchedule;

    /// What is said where that of another owner stands in the way of a run of the schedule `nightly` with the uid `b`.
    fn there(kind: &str, owner: &str, uid: &str, going: bool) -> Answer {
        let there: ObjectMeta = serde_json::from_value(json!({
            "deletionTimestamp": going.then_some("2026-01-01T00:00:00Z"),
            "ownerReferences": [{"apiVersion": "bakeoff.dev/v1alpha1", "kind": kind,
                "name": owner, "uid": uid, "controller": true}],
        }))
        .unwrap();
        let id = Identity {
            namespace: "ns".into(),
            name: "nightly".to_owned(),
            uid: "b".into(),
        };
        namesake::<ExperimentSchedule>(&there, "nightly-g1", &id)
    }

    #[test]
    fn what_goes_is_waited_for_and_what_stays_has_taken_the_name() {
        let schedule = "ExperimentSchedule";
        assert_eq!(there(schedule, "nightly", "b", false), Answer::Made);
        assert_eq!(there(schedule, "other", "a", false), Answer::Taken);
        assert_eq!(
            there("ExperimentPlan", "nightly", "b", false),
            Answer::Taken
        );
        // The owner was deleted and applied again: its run goes, or is about to.
        for going in [true, false] {
            let waits = there(schedule, "nightly", "a", going);
            assert!(matches!(waits, Answer::Refused(why) if why.contains("is being removed")));
        }
        assert_ne!(there(schedule, "other", "a", true), Answer::Taken);
    }
}
