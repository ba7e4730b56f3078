//! Whether a plan can run at all.

use super::draft::Draft;
use crate::controllers::phases::build;
use crate::runs::REFUSED_SECONDS;
use bakeoff_crds::conditions::{self, ACCEPTED, RECONCILING, STALLED, Truth, reasons};
use std::collections::{BTreeMap, BTreeSet};

impl Draft<'_> {
    /// Whether it can run. What cannot says everything that is wrong with it at once, before anything is begun.
    pub(super) fn accept(&mut self) -> bool {
        let backwards = self.looks_forward();
        if !backwards.is_empty() {
            self.accepted_is(false, reasons::INVALID_WHEN, &backwards.join("; "));
            return false;
        }
        let twice = self.named_twice();
        if self.status.start_time.is_none() && !twice.is_empty() {
            self.accepted_is(false, reasons::INVALID_TEMPLATE, &twice.join("; "));
            return false;
        }
        if self.status.start_time.is_none() && !self.observed.refused.is_empty() {
            // A policy or a quota may be mended, of which nobody tells.
            self.wake_in(REFUSED_SECONDS);
            let refused = self.observed.refused.join("; ");
            let message =
                format!("nothing is begun, because templates would be refused: {refused}");
            self.accepted_is(false, reasons::INVALID_TEMPLATE, &message);
            return false;
        }
        let message = "all templates would be taken";
        self.accepted_is(true, reasons::TEMPLATES_TAKEN, message);
        true
    }

    /// Names that two experiments would have, all attempts counted: one would be taken for the other.
    fn named_twice(&self) -> Vec<String> {
        let (mut names, mut wrong) = (BTreeMap::new(), Vec::new());
        for phase in &self.spec.phases {
            let made = phase.experiments.iter();
            for step in made.filter(|step| step.template.is_some()) {
                for attempt in 1..=phase.retries.saturating_add(1) {
                    let name = build::name(&self.id.name, &phase.name, &step.name, attempt);
                    let whose = format!("attempt {attempt} at {} of {}", step.name, phase.name);
                    if let Some(other) = names.get(&name) {
                        wrong.push(format!(
                            "{name} would be the name of {other} and of {whose}: name one of the two otherwise"
                        ));
                    }
                    names.insert(name, whose);
                }
            }
        }
        wrong
    }

    /// Conditions on phases that do not come before their own.
    fn looks_forward(&self) -> Vec<String> {
        let (mut before, mut wrong) = (BTreeSet::new(), Vec::new());
        for phase in &self.spec.phases {
            for when in &phase.when {
                if !before.contains(&when.phase) {
                    wrong.push(format!(
                        "phase {} looks at {}, which does not come before it",
                        phase.name, when.phase
                    ));
                }
            }
            before.insert(&phase.name);
        }
        wrong
    }

    fn accepted_is(&mut self, accepted: bool, reason: &str, message: &str) {
        let before = conditions::get(&self.status.conditions, ACCEPTED);
        let news = before.is_none_or(|before| before.reason != reason || before.message != message);
        if news && !accepted {
            self.tell(true, reason, message);
        }
        self.condition(ACCEPTED, Truth::from(accepted), reason, message);
        self.condition(STALLED, Truth::from(!accepted), reason, message);
        self.condition(RECONCILING, Truth::False, reason, message);
    }
}
