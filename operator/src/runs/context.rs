//! What a reconcile of an owner of experiments holds on to, and how a plan for it is carried out. (I/O.)

use super::{Maker, RunAction};
use crate::act::{Acted, Written};
use crate::action::Plan;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::owner::Owner;
use crate::stored::Stored;
use crate::troubles::Troubles;
use bakeoff_crds::identity::{Identity, Uid};
use jiff::Timestamp;
use kube::core::object::HasStatus;
use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// When what was left of a pass is gone on with.
const SOON: Duration = Duration::from_millis(100);
/// When what the API server refuses is asked for again.
const REFUSED: Duration = Duration::from_secs(5);

/// What a reconcile of a `K` holds on to.
pub struct Context<K>
where
    K: Resource<DynamicType = ()> + 'static,
{
    /// Makes the runs.
    pub maker: Maker,
    /// All owners of the kind.
    pub owners: Store<Stored<K>>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Who is in trouble for how long.
    pub troubles: Troubles,
}

impl<K> Context<K>
where
    K: Owner + HasStatus + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
    K::Status: Serialize + PartialEq + Default,
{
    /// Does what a plan asks for: the status first, because what follows depends on it, then the runs.
    ///
    /// # Errors
    /// Something could not be written; it is tried again.
    pub async fn carry_out(
        &self,
        owner: &K,
        id: &Identity,
        plan: Plan<K::Status, RunAction>,
    ) -> Result<Action, Error> {
        let mut wait = plan.wait(Timestamp::now());
        let writer = &self.maker.writer;
        let urgent = plan.is_urgent();
        let written = writer.write_status(owner, id, &plan.status, urgent).await?;
        if let Written::In(left) = written {
            wait = Some(wait.map_or(left, |wait| wait.min(left)));
        }
        writer.tell(owner, &plan.events).await;
        let again = match self.maker.act(owner, id, plan.actions).await? {
            Acted::All => None,
            Acted::More => Some(SOON),
            Acted::Refused => Some(REFUSED),
        };
        wait = [wait, again].into_iter().flatten().min();
        self.troubles.over(&id.uid);
        Ok(wait.map_or_else(Action::await_change, Action::requeue))
    }

    /// Forgets the owners that exist no longer: a wake has named one that is not there.
    pub fn forget_deleted(&self) {
        let owners = self.owners.state();
        let left: BTreeSet<Uid> = owners
            .iter()
            .filter_map(|stored| stored.uid().map(Uid::from))
            .collect();
        self.maker.keep(|uid| left.contains(uid));
        self.troubles.keep(|uid| left.contains(uid));
    }
}
