//! S3 on the measured path: one HTTP/1.1 connection per worker, own signing, no retries.

pub mod conn;
pub mod dialer;
mod driver;
pub mod metrics;
pub mod null;
pub mod ops;
pub mod patience;
pub mod payload;
pub mod probe;
pub mod request;
pub mod sigv4;
mod stream;
pub mod target;

pub use conn::Connection;
pub use driver::VERSIONING;
pub use ops::{GetReply, ListPage, ListRequest, MOST_EMPTY_PAGES, PutReply};
pub use payload::Payload;
pub use target::{Target, TargetError};
