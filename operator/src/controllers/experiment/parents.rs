//! What experiments are runs of: it is woken by whatever happens to them. (I/O.)

use super::Watched;
use crate::caches::Wake;
use crate::controllers::{phases, schedule};
use crate::owner;
use crate::stored::Stored;
use bakeoff_crds::{ExperimentPlan, ExperimentSchedule};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};

/// The ways to what experiments are runs of.
pub struct Parents {
    /// Wakes schedules.
    pub schedules: Wake<schedule::Watched>,
    /// Wakes plans.
    pub plans: Wake<phases::Watched>,
    /// All plans: they name experiments that others have made.
    pub all_plans: Store<phases::Watched>,
    /// All schedules.
    pub all_schedules: Store<schedule::Watched>,
}

impl Parents {
    /// Wakes the schedule or the plan that has made an experiment; of one that neither has, the plans that name it.
    pub fn wake(&self, run: &Watched) {
        let namespace = run.namespace().unwrap_or_default();
        if let Some((name, _)) = owner::controller::<ExperimentSchedule>(run.meta()) {
            let schedule = ObjectRef::new(name).within(&namespace);
            let _ = self.schedules.unbounded_send(schedule);
        } else if let Some((name, _)) = owner::controller::<ExperimentPlan>(run.meta()) {
            let plan = ObjectRef::new(name).within(&namespace);
            let _ = self.plans.unbounded_send(plan);
        } else {
            let name = run.name_any();
            wake_those(&self.plans, &self.all_plans, &namespace, |plan| {
                names(plan, &name)
            });
        }
    }

    /// Wakes all of a namespace: an experiment of it is gone, and nobody knows any more whose it was.
    pub fn wake_all(&self, namespace: &str) {
        wake_those(&self.schedules, &self.all_schedules, namespace, |_| true);
        wake_those(&self.plans, &self.all_plans, namespace, |_| true);
    }
}

/// Wakes those of a namespace to which it applies.
fn wake_those<K>(wake: &Wake<K>, all: &Store<K>, namespace: &str, which: impl Fn(&K) -> bool)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let those =
        all.state_filter(|one| one.meta().namespace.as_deref() == Some(namespace) && which(one));
    for one in those {
        let _ = wake.unbounded_send(ObjectRef::from_obj(&*one));
    }
}

fn names(plan: &phases::Watched, experiment: &str) -> bool {
    let Stored::Read(plan) = plan else {
        return false;
    };
    let steps = plan.spec.phases.iter().flat_map(|phase| &phase.experiments);
    let mut named = steps.filter_map(|step| step.r#ref.as_ref());
    named.any(|named| named.name == experiment)
}
