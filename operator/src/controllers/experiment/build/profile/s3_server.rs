//! A server of S3 that a spec describes. (Pure.)

use super::{Pods, Profile, Ready, Words, s3, s3_pods};
use bakeoff_crds::durability::Durability;
use bakeoff_crds::names;
use bakeoff_crds::spec::Release;
use bakeoff_crds::upkeep::Upkeep;

pub(super) fn profile(release: &Release) -> Profile {
    let Some(declared) = release.declared.as_deref() else {
        return undescribed();
    };
    let env = declared.env.iter();
    let env = env.map(|one| {
        (
            Words::from(one.name.clone()),
            Words::from(one.value.clone()),
        )
    });
    // Two variables of one name would be refused.
    let has_home = declared.env.iter().any(|one| one.name == "HOME");
    let home = (!has_home).then(|| ("HOME".into(), "/tmp".into()));
    let credentials = &declared.credentials;
    let pods = Pods {
        port: declared.port,
        metrics: declared
            .metrics
            .as_ref()
            .map(|metrics| (metrics.port, metrics.path.clone().into())),
        command: declared.command.clone(),
        args: declared.args.clone(),
        env: home.into_iter().chain(env).collect(),
        secret_env: vec![
            (
                credentials.access_key_id_env.clone().into(),
                names::SECRET_ACCESS_KEY_ID,
            ),
            (
                credentials.secret_access_key_env.clone().into(),
                names::SECRET_SECRET_ACCESS_KEY,
            ),
        ],
        ready: match &declared.ready_path {
            Some(path) => Ready::Http(path.clone().into()),
            None => Ready::Open,
        },
        user: declared.user,
        data: Some(declared.data_path.clone().into()),
        ..s3_pods()
    };
    Profile {
        region: declared.region.clone().into(),
        durability: Durability::as_its_owner_states(declared.durability),
        upkeep: Upkeep::as_the_experiment_states(
            declared.licence.as_deref(),
            declared.maintenance.as_deref(),
        ),
        pods,
        ..undescribed()
    }
}

/// What is true of all of them.
fn undescribed() -> Profile {
    Profile {
        caveats: vec![
            "its container is described by the experiment: Bakeoff knows nothing of the program, and tried none of what is stated of it".into(),
        ],
        ..s3(s3_pods())
    }
}
