//! Messages to those whom a schedule or a plan tells of what happens: one after the other, each at least once. (Pure.)

use super::build::{Task, errand};
use super::{Errand, Seen};
use crate::action::{Action, Note};
use crate::owner::Owner;
use crate::parts::loadgen_job::{CREDENTIALS, whole};
use crate::parts::objects::Role;
use crate::settings::Settings;
use bakeoff_crds::conditions::{self, reasons};
use bakeoff_crds::identity::Identity;
use bakeoff_crds::names;
use bakeoff_crds::notify::{MOST_NOTICES, Notice, Notify, Occasion};
use bakeoff_crds::run::NoticeTask;
use bakeoff_crds::spec::Equipment;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// How long the Job of a message may take, seconds: it tries five times by itself.
const SECONDS: i64 = 180;
/// The longest message, bytes: sixteen of them stand in a status.
const LONGEST: usize = 400;
/// The folder of the receiver's Secret.
const FOLDER: &str = "receiver";

/// The messages of an owner, as its status has them.
pub struct Notices<'a> {
    /// Those that have still to be sent, the oldest first.
    pub pending: &'a mut Vec<Notice>,
    /// How many there were.
    pub made: &'a mut i64,
}

/// What has come of the messages of an owner.
#[derive(Default)]
pub struct Sent {
    /// What is to be done.
    pub actions: Vec<Action>,
    /// What people are to be told.
    pub notes: Vec<Note>,
    /// Whether the status has changed in a way that may not be lost.
    pub changed: bool,
    /// When to look again.
    pub wake_at: Option<Timestamp>,
}

impl Notices<'_> {
    /// Has everybody told who wants to hear of this; what people are to know of messages that were given up for it.
    pub fn of(
        &mut self,
        receivers: &[Notify],
        occasion: Occasion,
        message: &str,
        at: Timestamp,
    ) -> Vec<Note> {
        for receiver in receivers.iter().filter(|one| one.on.contains(&occasion)) {
            *self.made += 1;
            self.pending.push(Notice {
                to: receiver.name.clone(),
                occasion,
                message: conditions::shorten(message, LONGEST),
                at,
                number: *self.made,
            });
        }
        let excess = self.pending.len().saturating_sub(MOST_NOTICES);
        let given_up = self.pending.drain(..excess);
        given_up
            .map(|notice| failed(&notice, "too many are waiting to be sent"))
            .collect()
    }

    /// Sees to the oldest.
    pub fn send<K: Owner>(
        &mut self,
        id: &Identity,
        (receivers, equipment): (&[Notify], &Equipment),
        seen: &Seen,
        settings: &Settings,
        now: Timestamp,
    ) -> Sent {
        let mut sent = Sent::default();
        let Some(notice) = self.pending.first() else {
            return sent;
        };
        let name = names::child(
            &id.name,
            id.uid.as_str(),
            &format!("notice-{}", notice.number),
        );
        let receiver = receivers.iter().find(|one| one.name == notice.to);
        let Some(receiver) = receiver else {
            // Nobody wants to hear of it any more.
            self.pending.remove(0);
            sent.changed = true;
            return sent;
        };
        match seen.errand(&name, now, SECONDS) {
            Errand::Absent => {
                let task = task::<K>(id, receiver, notice);
                let secret = whole(receiver.secret_ref.name.clone());
                let children = errand::<K, _>(
                    id,
                    settings,
                    Task {
                        name: &name,
                        role: Role::Notice,
                        command: "notify",
                        content: &task,
                        equipment,
                        credentials: BTreeMap::from([(FOLDER.to_owned(), secret)]),
                    },
                );
                sent.actions = seen.ensure(children);
                sent.wake_at = Some(now);
            }
            Errand::Works(until) => sent.wake_at = Some(until),
            ended @ (Errand::Done | Errand::Failed(_)) => {
                if let Errand::Failed(why) = ended {
                    sent.notes.push(failed(notice, &why));
                }
                self.pending.remove(0);
                sent.changed = true;
                sent.wake_at = Some(now);
                sent.actions = seen.end(&name);
            }
        }
        sent
    }
}

fn failed(notice: &Notice, why: &str) -> Note {
    let message = format!(
        "{} was not told of {}: {why}",
        notice.to,
        notice.occasion.as_str()
    );
    Note::new(true, reasons::NOTIFICATION_FAILED, &message)
}

fn task<K: Owner>(id: &Identity, receiver: &Notify, notice: &Notice) -> NoticeTask {
    NoticeTask {
        kind: K::kind(&()).into_owned(),
        owner: id.clone(),
        notice: notice.clone(),
        format: receiver.format,
        credentials_dir: format!("{CREDENTIALS}/{FOLDER}"),
        url_key: receiver.secret_ref.url_key.clone(),
        hmac_key: receiver.secret_ref.hmac_key.clone(),
    }
}
