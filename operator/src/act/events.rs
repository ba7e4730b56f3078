//! Tells what has changed. (I/O.)

use super::Writer;
use crate::action::Note;
use kube::Resource;
use kube::runtime::events::{Event, EventType};

impl Writer {
    /// Tells what has changed. What cannot be told is said in the log: the conditions stand in any case.
    pub async fn tell<K: Resource<DynamicType = ()>>(&self, of: &K, notes: &[Note]) {
        for note in notes {
            if self.leads().is_err() {
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
            if let Err(error) = self.recorder.publish(&event, &of.object_ref(&())).await {
                tracing::warn!(%error, reason = %note.reason, "an event could not be published");
            }
        }
    }
}
