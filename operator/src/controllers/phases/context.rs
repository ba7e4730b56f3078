//! What a reconcile of a plan holds on to. (I/O handles; the decisions are elsewhere.)

use super::Watched;
use crate::metrics::Metrics;
use crate::runs::Maker;
use crate::troubles::Troubles;
use bakeoff_crds::identity::Uid;
use kube::ResourceExt;
use kube::runtime::reflector::Store;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a reconcile holds on to.
pub struct Context {
    /// Makes the runs.
    pub maker: Maker,
    /// All plans.
    pub plans: Store<Watched>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Who is in trouble for how long.
    pub troubles: Troubles,
}

impl Context {
    /// Forgets the plans that exist no longer.
    pub fn forget_deleted(&self) {
        let plans = self.plans.state();
        let left: BTreeSet<Uid> = plans
            .iter()
            .filter_map(|stored| stored.uid().map(Uid::from))
            .collect();
        self.maker.keep(|uid| left.contains(uid));
        self.troubles.keep(|uid| left.contains(uid));
    }
}
