//! One MinIO server with several drives.

use std::time::{Duration, Instant};

use bytes::Bytes;

use bakeoff_loadgen::drivers::s3::conn::Keep;
use bakeoff_loadgen::drivers::s3::{Connection, Payload};

use crate::support;

/// What the server answers to a GET of this object.
async fn read(connection: &mut Connection, path: &str) -> (u16, Bytes) {
    let (none, keep) = (Payload::default(), Keep::Body);
    let reply = connection
        .send(http::Method::GET, path, "", none, keep)
        .await;
    let reply = reply.unwrap();
    (reply.status, reply.body)
}

#[test]
fn an_object_is_over_all_drives_of_a_server_and_outlives_two_of_four() {
    let minio = support::minio_of_four_drives();
    support::runtime().block_on(async {
        let backend = support::backend("minio", &minio.endpoint, None).await;
        let mut connection = backend.access.s3().unwrap().connection();
        let body = Bytes::from("bakeoff ".repeat(50_000));
        let path = connection.target().object_path("over-all");
        let put = connection.put(&path, body.clone().into());
        put.await.unwrap();
        let of = |drive: i32| minio.folder().join(format!("data{drive}/bakeoff/over-all"));
        for drive in 1..=4 {
            assert!(of(drive).join("xl.meta").is_file(), "drive {drive}");
        }
        assert!(read(&mut connection, &path).await == (200, body.clone()));
        for drive in [2, 4] {
            std::fs::remove_dir_all(of(drive)).unwrap();
        }
        assert!(
            read(&mut connection, &path).await == (200, body.clone()),
            "two of four shards are enough"
        );
        // It heals itself behind that, also while the others are lost.
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            for drive in 1..=4 {
                let _ = std::fs::remove_dir_all(of(drive));
            }
            let (status, _) = read(&mut connection, &path).await;
            if status == 404 {
                break;
            }
            assert!(Instant::now() < deadline, "all are lost: {status}");
        }
    });
}
