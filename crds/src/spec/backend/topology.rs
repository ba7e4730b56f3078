//! Of which pods a server is made, and what each of them gets of its equipment. (Pure.)
//!
//! Equal means equal totals: a server of many pods gets what a server of one gets, split by one rule. Pods that only keep the others
//! together get a fixed share, taken off the top. The rest of CPU and memory is split evenly over the programs that serve, so that a pod
//! which runs two of them gets two shares; storage is split evenly over the pods that keep data.

use crate::quantity::{Quantity, QuantityError};
use crate::spec::{Equipment, Resources};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A sort of pods of a server.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Member {
    /// The server itself, or one of several that are alike.
    Server,
    /// Keeps the others together, and no data (SeaweedFS).
    Master,
    /// Keeps data (SeaweedFS).
    Volume,
    /// Keeps the names of objects, and is the gateway that clients talk to (SeaweedFS).
    Filer,
    /// Follows the server and answers for its commits (Postgres).
    Standby,
}

impl Member {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Server,
        Self::Master,
        Self::Volume,
        Self::Filer,
        Self::Standby,
    ];

    /// Its name in labels, names of children and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Master => "master",
            Self::Volume => "volume",
            Self::Filer => "filer",
            Self::Standby => "standby",
        }
    }

    /// How many programs that serve are in one of its pods; none in those that get a fixed share.
    fn programs(self) -> i64 {
        match self {
            Self::Master => 0,
            Self::Server | Self::Volume | Self::Standby => 1,
            // And the gateway.
            Self::Filer => 2,
        }
    }
}

/// Of which pods a server is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Topology {
    /// Of one.
    #[default]
    Single,
    /// MinIO: one or several servers that are alike, over whose drives each object is erasure coded.
    Erasure {
        /// The servers.
        servers: i32,
        /// The drives of each.
        drives: i32,
        /// The drives of a set: an object is split over those of one.
        set: i32,
        /// How many drives of a set may be lost without losing an object.
        parity: i32,
    },
    /// SeaweedFS: each role apart, with one filer.
    Roles {
        /// Masters, of which a majority has to be there.
        masters: i32,
        /// Volume servers.
        volume_servers: i32,
        /// Copies of each object, on different volume servers.
        copies: i32,
    },
    /// Postgres: a primary, and standbys without which it acknowledges nothing.
    Standbys {
        /// The standbys.
        standbys: i32,
    },
    /// Garage: nodes that are alike, each with a copy of every object.
    Replicated {
        /// The nodes.
        nodes: i32,
    },
}

/// What a pod that only keeps others together gets: CPU in thousandths of a core, memory in MiB.
const FIXED: (i64, i64) = (100, 128);
/// Less than this is not enough for any of the servers, MiB.
const LEAST_MEMORY: i64 = 256;
/// Less than this is not enough for any of the servers, thousandths of a core.
const LEAST_CPU: i64 = 100;

/// What each pod of a sort gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The sort.
    pub member: Member,
    /// How many pods.
    pub pods: i32,
    /// CPU and memory of each of them.
    pub resources: Resources,
    /// The storage of each of them, over all of its volumes; none keeps no data.
    pub storage: Option<Quantity>,
    /// How many volumes each of them has, where it keeps data.
    pub volumes: i32,
}

/// Why equipment cannot be split.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A quantity cannot be read.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// A share is too small to run anything.
    #[error(
        "split over {pods} pods, equipment.resources leaves each {member} {cpu}m of CPU and {memory}Mi of memory, and the least is {LEAST_CPU}m and {LEAST_MEMORY}Mi: ask for more, or for fewer pods"
    )]
    TooSmall {
        /// All pods of the server.
        pods: i32,
        /// The sort with the smallest share.
        member: &'static str,
        /// Its CPU, thousandths of a core.
        cpu: i64,
        /// Its memory, MiB.
        memory: i64,
    },
}

impl Share {
    /// The size of each volume; none keeps no data.
    #[must_use]
    pub fn volume(&self) -> Option<Quantity> {
        let storage = self.storage.as_ref()?;
        match (self.volumes, storage.units()) {
            (2.., Ok(bytes)) => {
                let each = (bytes >> 20) / i64::from(self.volumes);
                Some(Quantity(format!("{each}Mi")))
            }
            _ => Some(storage.clone()),
        }
    }
}

impl Topology {
    /// The sorts of its pods, and how many there are of each; clients talk to the first.
    #[must_use]
    pub fn members(&self) -> Vec<(Member, i32)> {
        match self {
            Self::Single => vec![(Member::Server, 1)],
            Self::Erasure { servers, .. } => vec![(Member::Server, *servers)],
            Self::Replicated { nodes } => vec![(Member::Server, *nodes)],
            Self::Roles {
                masters,
                volume_servers,
                ..
            } => vec![
                (Member::Filer, 1),
                (Member::Master, *masters),
                (Member::Volume, *volume_servers),
            ],
            Self::Standbys { standbys } => {
                vec![(Member::Server, 1), (Member::Standby, *standbys)]
            }
        }
    }

    /// All pods.
    #[must_use]
    pub fn pods(&self) -> i32 {
        self.members().iter().map(|(_, pods)| pods).sum()
    }

    /// How many pods of this sort there are.
    #[must_use]
    pub fn pods_of(&self, member: Member) -> i32 {
        let members = self.members().into_iter();
        let of = members.filter(|(one, _)| *one == member);
        of.map(|(_, pods)| pods).sum()
    }

    /// The sort of which one can be lost while the server goes on, if any: what a fault takes away.
    #[must_use]
    pub fn expendable(&self) -> Member {
        match self {
            Self::Single | Self::Erasure { .. } | Self::Replicated { .. } => Member::Server,
            Self::Roles { .. } => Member::Volume,
            Self::Standbys { .. } => Member::Standby,
        }
    }

    /// How many volumes each pod has that keeps data.
    #[must_use]
    pub fn volumes(&self) -> i32 {
        match self {
            Self::Erasure { drives, .. } => *drives,
            Self::Single | Self::Roles { .. } | Self::Replicated { .. } | Self::Standbys { .. } => {
                1
            }
        }
    }

    /// How many bytes are stored for each byte of an object.
    #[must_use]
    pub fn bytes_stored_per_byte(&self) -> f64 {
        match self {
            Self::Single => 1.0,
            Self::Erasure { set, parity, .. } => f64::from(*set) / f64::from((set - parity).max(1)),
            Self::Roles { copies, .. } => f64::from(*copies),
            Self::Standbys { standbys } => f64::from(1 + *standbys),
            Self::Replicated { nodes } => f64::from(*nodes),
        }
    }

    /// What each pod gets of this equipment.
    ///
    /// # Errors
    /// When the equipment cannot be read, or is too little for so many pods.
    pub fn shares(&self, equipment: &Equipment) -> Result<Vec<Share>, SplitError> {
        let volumes = self.volumes();
        let mebibytes = |quantity: &Quantity| Ok::<_, QuantityError>(quantity.units()? >> 20);
        if self.pods() == 1 {
            let size = &equipment.storage.size;
            let each = mebibytes(size)? / i64::from(volumes);
            let storage = match volumes {
                1 => size.clone(),
                _ => Quantity(format!("{}Mi", each * i64::from(volumes))),
            };
            return Ok(vec![Share {
                member: Member::Server,
                pods: 1,
                resources: equipment.resources.clone(),
                storage: Some(storage),
                volumes,
            }]);
        }
        let members = self.members();
        let count = |of: &dyn Fn(Member) -> i64| -> i64 {
            let pods = members.iter();
            pods.map(|(member, pods)| of(*member) * i64::from(*pods))
                .sum()
        };
        let fixed = count(&|member| i64::from(member.programs() == 0));
        let programs = count(&Member::programs).max(1);
        let keep_data = count(&|member| i64::from(member.programs() > 0)).max(1);
        let cpu = (equipment.resources.cpu.millis()? - fixed * FIXED.0) / programs;
        let memory = (mebibytes(&equipment.resources.memory)? - fixed * FIXED.1) / programs;
        // The same for each volume.
        let each = mebibytes(&equipment.storage.size)? / (keep_data * i64::from(volumes));
        let storage = each * i64::from(volumes);
        let share = |(member, pods): (Member, i32)| {
            let shares = member.programs();
            let (cpu, memory) = if shares == 0 {
                FIXED
            } else {
                (cpu * shares, memory * shares)
            };
            if shares > 0 && (cpu < LEAST_CPU || memory < LEAST_MEMORY) {
                return Err(SplitError::TooSmall {
                    pods: self.pods(),
                    member: member.as_str(),
                    cpu: cpu.max(0),
                    memory: memory.max(0),
                });
            }
            Ok(Share {
                member,
                pods,
                resources: Resources {
                    cpu: Quantity(format!("{cpu}m")),
                    memory: Quantity(format!("{memory}Mi")),
                },
                storage: (shares > 0).then(|| Quantity(format!("{storage}Mi"))),
                volumes,
            })
        };
        members.into_iter().map(share).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn equipment(cpu: &str, memory: &str, size: &str) -> Equipment {
        let mut equipment = Equipment {
            resources: Resources {
                cpu: cpu.into(),
                memory: memory.into(),
            },
            ..Equipment::default()
        };
        equipment.storage.size = size.into();
        equipment
    }

    fn arb() -> impl Strategy<Value = Topology> {
        let erasure = (1..=16_i32, 1..=4_i32).prop_map(|(servers, drives)| Topology::Erasure {
            servers,
            drives,
            set: servers * drives,
            parity: servers * drives / 2,
        });
        let roles = (prop_oneof![Just(1), Just(3)], 1..=16_i32).prop_map(|(masters, volumes)| {
            Topology::Roles {
                masters,
                volume_servers: volumes,
                copies: 1,
            }
        });
        let standbys = (1..=2_i32).prop_map(|standbys| Topology::Standbys { standbys });
        let replicated = Just(Topology::Replicated { nodes: 3 });
        prop_oneof![Just(Topology::Single), erasure, roles, standbys, replicated]
    }

    proptest! {
        /// No topology gets more than a server of one pod, and none gives away more than rounding takes.
        #[test]
        fn the_total_of_all_pods_is_the_equipment(topology in arb(), cpu in 1_i64..64_000, memory in 1_i64..65_536, size in 1_i64..65_536) {
            let equipment = equipment(&format!("{cpu}m"), &format!("{memory}Mi"), &format!("{size}Mi"));
            let Ok(shares) = topology.shares(&equipment) else {
                // Only ever because it is too little.
                prop_assert!(cpu < 100 * 34 + 300 || memory < 256 * 34 + 3 * 128);
                return Ok(());
            };
            let total = |of: &dyn Fn(&Share) -> i64| -> i64 {
                shares.iter().map(|share| of(share) * i64::from(share.pods)).sum()
            };
            let cpus = total(&|share| share.resources.cpu.millis().unwrap());
            let bytes = total(&|share| share.resources.memory.units().unwrap());
            let stored = total(&|share| share.storage.as_ref().map_or(0, |size| size.units().unwrap()));
            let programs = i64::from(topology.pods() + 1);
            let volumes = programs * i64::from(topology.volumes());
            for share in &shares {
                let (Some(all), Some(each)) = (&share.storage, share.volume()) else { continue };
                prop_assert_eq!(all.units().unwrap(), each.units().unwrap() * i64::from(share.volumes));
            }
            prop_assert!(cpus <= cpu && cpus > cpu - programs);
            prop_assert!(bytes <= memory << 20 && bytes > (memory - programs) << 20);
            prop_assert!(stored <= size << 20 && stored > (size - volumes) << 20);
            let pods: i32 = shares.iter().map(|share| share.pods).sum();
            prop_assert_eq!(pods, topology.pods());
        }
    }

    #[test]
    fn a_pod_of_two_programs_gets_two_shares_and_masters_a_fixed_one() {
        let topology = Topology::Roles {
            masters: 1,
            volume_servers: 3,
            copies: 2,
        };
        let shares = topology.shares(&equipment("2", "4Gi", "20Gi")).unwrap();
        let said: Vec<String> = shares
            .iter()
            .map(|share| {
                let storage = share.storage.as_ref().map_or("-", |size| &size.0);
                let of = &share.resources;
                format!(
                    "{} {} {} {} {storage}",
                    share.pods,
                    share.member.as_str(),
                    of.cpu,
                    of.memory
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                "1 filer 760m 1586Mi 5120Mi",
                "1 master 100m 128Mi -",
                "3 volume 380m 793Mi 5120Mi"
            ]
        );
    }

    #[test]
    fn a_primary_and_its_standbys_get_the_same_and_keep_as_many_copies() {
        let topology = Topology::Standbys { standbys: 2 };
        let shares = topology.shares(&equipment("3", "6Gi", "9Gi")).unwrap();
        let each = |member, pods| Share {
            volumes: 1,
            member,
            pods,
            resources: Resources {
                cpu: "1000m".into(),
                memory: "2048Mi".into(),
            },
            storage: Some("3072Mi".into()),
        };
        assert_eq!(shares, [each(Member::Server, 1), each(Member::Standby, 2)]);
        assert_eq!(topology.expendable(), Member::Standby);
        assert_eq!(
            (topology.pods(), topology.bytes_stored_per_byte()),
            (3, 3.0)
        );
    }

    #[test]
    fn too_little_for_so_many_is_refused_with_what_each_would_get() {
        let topology = Topology::Erasure {
            servers: 4,
            drives: 1,
            set: 4,
            parity: 2,
        };
        let refused = topology.shares(&equipment("1", "768Mi", "4Gi"));
        let said = refused.unwrap_err().to_string();
        assert!(
            said.contains("250m of CPU and 192Mi") && said.contains("fewer pods"),
            "{said}"
        );
        assert!(topology.shares(&equipment("1", "1Gi", "4Gi")).is_ok());
        assert!(
            topology.shares(&equipment("x", "1Gi", "4Gi")).is_err(),
            "what cannot be read"
        );
    }
}
