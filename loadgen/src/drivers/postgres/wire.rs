//! One connection that carries out prepared statements, one at a time and with nothing in between.
//!
//! The client library runs a task of its own for each connection and hands every request and answer over
//! between that and its caller, which costs about as much as everything else the client does. A generator
//! that has one statement in flight on a connection needs none of it: it writes, waits and reads. So the
//! library signs in (SCRAM and the rest of it), and then the socket is used directly: Bind, Execute and
//! Sync in one write, answers until ReadyForQuery (PostgreSQL manual, "Message Flow: Extended Query").
//! A statement is sent once; buffers are used again.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Config, NoTls};

use super::refused;
use super::socket::{Lent, Socket};
use crate::failure::{Failure, FailureClass};

/// Answers to these statements are short; a longer one makes the buffer grow.
const BUFFER: usize = 4_096;

/// A parameter, sent in binary form.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// `bigint`
    Int8(i64),
    /// `integer`
    Int4(i32),
    /// `smallint`
    Int2(i16),
    /// `bytea`
    Bytes(&'a [u8]),
}

/// A connection that is signed in.
#[derive(Debug)]
pub struct Wire {
    stream: Socket,
    output: Vec<u8>,
    input: Vec<u8>,
    /// How much of the input has been read.
    filled: usize,
}

impl Wire {
    /// Signs in on a socket.
    ///
    /// # Errors
    /// When the server refuses the user or goes.
    pub(super) async fn open(config: &Config, socket: Socket) -> Result<Self, Failure> {
        let stream = Arc::new(Mutex::new(socket));
        // The answer to signing in ends with ReadyForQuery and a server says nothing unasked after it, so
        // that what the library drops here holds no bytes of ours. It has sent no farewell either: that is
        // the part of the connection's task, which never runs.
        let lent = Lent(Arc::clone(&stream));
        let signed_in = config.connect_raw(lent, NoTls).await;
        drop(signed_in.map_err(|error| super::opening(&error))?);
        let lost = || Failure::new(FailureClass::Connect, "the library keeps the connection");
        let stream = Arc::into_inner(stream).ok_or_else(lost)?;
        Ok(Self {
            stream: stream.into_inner().map_err(|_| lost())?,
            output: Vec::with_capacity(BUFFER),
            input: vec![0; BUFFER],
            filled: 0,
        })
    }

    /// Asks what needs no parameters; the answer is of no interest.
    ///
    /// # Errors
    /// When the server refuses it or does not answer.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<(), Failure> {
        self.output.clear();
        let start = self.begin(b'P');
        self.text("");
        self.text(sql);
        self.count(0);
        self.end(start);
        self.carry_out("", &[]);
        self.exchange().await.map(|_| ())
    }

    /// Prepares a statement under a name.
    ///
    /// # Errors
    /// When the server refuses it or does not answer.
    pub async fn prepare(&mut self, name: &str, sql: &str, types: &[Type]) -> Result<(), Failure> {
        self.output.clear();
        let start = self.begin(b'P');
        self.text(name);
        self.text(sql);
        self.count(types.len());
        for kind in types {
            self.output.extend_from_slice(&kind.oid().to_be_bytes());
        }
        self.end(start);
        self.exchange().await.map(|_| ())
    }

    /// Carries out a prepared statement, once; answers how many rows it touched. After any failure but one
    /// that the server answered the connection is to be dropped.
    ///
    /// # Errors
    /// What the server answers, or a broken connection.
    pub async fn execute(&mut self, name: &str, values: &[Value<'_>]) -> Result<u64, Failure> {
        self.output.clear();
        self.carry_out(name, values);
        self.exchange().await
    }

    /// Bind and Execute.
    fn carry_out(&mut self, name: &str, values: &[Value<'_>]) {
        let start = self.begin(b'B');
        self.text("");
        self.text(name);
        // All parameters are binary; no columns come back.
        self.count(1);
        self.count(1);
        self.count(values.len());
        for value in values {
            match value {
                Value::Int8(value) => self.parameter(&value.to_be_bytes()),
                Value::Int4(value) => self.parameter(&value.to_be_bytes()),
                Value::Int2(value) => self.parameter(&value.to_be_bytes()),
                Value::Bytes(value) => self.parameter(value),
            }
        }
        self.count(0);
        self.end(start);
        let start = self.begin(b'E');
        self.text("");
        self.output.extend_from_slice(&[0; 4]);
        self.end(start);
    }

    /// Whether the server has closed the connection, as far as the runtime knows. Costs no call of the
    /// kernel while nothing has come.
    pub fn is_closed(&mut self) -> bool {
        loop {
            match self.stream.try_read(&mut self.input[self.filled..]) {
                Ok(0) => return true,
                Ok(read) => self.filled += read,
                Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
            }
            // A notice or a changed setting may come unasked, an error only as the last word.
            let mut answer = Answer::default();
            if self.answers(&mut answer).is_err() || answer.failure.is_some() {
                return true;
            }
        }
    }

    fn begin(&mut self, kind: u8) -> usize {
        self.output.push(kind);
        self.output.extend_from_slice(&[0; 4]);
        self.output.len() - 4
    }

    fn end(&mut self, start: usize) {
        let length = u32::try_from(self.output.len() - start).unwrap_or(u32::MAX);
        self.output[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.output.extend_from_slice(text.as_bytes());
        self.output.push(0);
    }

    fn count(&mut self, count: usize) {
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        self.output.extend_from_slice(&count.to_be_bytes());
    }

    fn parameter(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.output.extend_from_slice(&length.to_be_bytes());
        self.output.extend_from_slice(bytes);
    }

    /// Sends what was built, with a Sync, and reads until the server is ready again.
    async fn exchange(&mut self) -> Result<u64, Failure> {
        self.output.extend_from_slice(&[b'S', 0, 0, 0, 4]);
        let broken =
            |error: std::io::Error| Failure::new(FailureClass::Transport, error.to_string());
        self.stream.write_all(&self.output).await.map_err(broken)?;
        // Nothing to do on a plain socket; an encrypted one may hold the last record back.
        self.stream.flush().await.map_err(broken)?;
        let mut answer = Answer::default();
        loop {
            // The runtime's own read, because it takes a short one for the last: the next waits for the
            // kernel's word and does not ask in vain.
            let room = &mut self.input[self.filled..];
            let read = self.stream.read(room).await.map_err(broken)?;
            if read == 0 {
                // What it said last is why it went.
                let gone = Failure::new(FailureClass::Transport, "connection closed");
                return Err(answer.failure.unwrap_or(gone));
            }
            self.filled += read;
            self.answers(&mut answer)
                .map_err(|what| Failure::new(FailureClass::Malformed, what))?;
            if answer.ready {
                return match answer.failure {
                    Some(failure) => Err(failure),
                    None => Ok(answer.rows),
                };
            }
        }
    }

    /// Takes all whole messages from the input.
    fn answers(&mut self, answer: &mut Answer) -> Result<(), &'static str> {
        let mut at = 0;
        while let Some(head) = self.input[at..self.filled].get(..5) {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length < 4 {
                return Err("a message of an impossible length");
            }
            let Some(body) = self.input[at..self.filled].get(5..length.saturating_add(1)) else {
                if length >= self.input.len() {
                    self.input.resize(length.saturating_add(1).min(1 << 26), 0);
                    if length >= self.input.len() {
                        return Err("a message of an impossible length");
                    }
                }
                break;
            };
            answer.take(head[0], body)?;
            at += length + 1;
        }
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }
}

/// What the server has answered so far.
#[derive(Debug, Default)]
struct Answer {
    rows: u64,
    failure: Option<Failure>,
    ready: bool,
}

impl Answer {
    fn take(&mut self, kind: u8, body: &[u8]) -> Result<(), &'static str> {
        match kind {
            // CommandComplete: the number of rows is the last word, for example of `INSERT 0 1`.
            b'C' => {
                let digits = body.strip_suffix(&[0]).unwrap_or(body);
                let from = digits.iter().rposition(|byte| !byte.is_ascii_digit());
                let digits = &digits[from.map_or(0, |at| at + 1)..];
                self.rows = digits.iter().fold(0, |rows: u64, digit| {
                    rows.saturating_mul(10)
                        .saturating_add(u64::from(digit - b'0'))
                });
            }
            b'E' => {
                let mut code = "";
                let mut message = "";
                for field in body.split(|&byte| byte == 0) {
                    let text = std::str::from_utf8(field.get(1..).unwrap_or_default());
                    match field.first() {
                        Some(b'C') => code = text.unwrap_or(""),
                        Some(b'M') => message = text.unwrap_or(""),
                        _ => {}
                    }
                }
                self.failure = Some(refused(&SqlState::from_code(code), message));
            }
            b'Z' => self.ready = true,
            // ParseComplete, BindComplete, rows, notices, settings, notifications.
            b'1' | b'2' | b'D' | b'N' | b'S' | b'A' => {}
            _ => return Err("an answer that was not asked for"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Credentials;
    use crate::drivers::postgres::Connector;
    use crate::drivers::postgres::null as null_postgres;
    use crate::drivers::stall::Stall;
    use std::future::Future;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::net::TcpListener;

    fn runtime<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(work)
    }

    fn connector(server: SocketAddr) -> Connector {
        let credentials = Credentials {
            user: "null".into(),
            secret: "null".into(),
            session_token: None,
            authorities: None,
        };
        let endpoint = format!("postgres://{server}");
        Connector::new(&endpoint, "null", &credentials, Duration::from_secs(60)).unwrap()
    }

    async fn null() -> Connector {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        tokio::spawn(null_postgres::serve(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            Stall::default(),
            |address| sender.send(address).unwrap(),
        ));
        connector(receiver.await.unwrap())
    }

    #[test]
    fn a_refused_statement_leaves_the_connection_as_it_was() {
        runtime(async {
            let mut wire = null().await.wire().await.unwrap();
            let refused = wire.execute("none", &[]).await.unwrap_err();
            assert_eq!(refused.class, FailureClass::Server);
            assert_eq!(refused.code.as_deref(), Some("0A000"));
            assert!(wire.prepare("s", "SELECT 7", &[]).await.is_err());
            for (sql, rows) in [
                ("UPDATE t SET a = 1", 1),
                ("INSERT INTO t VALUES (1)", 1),
                ("VACUUM", 0),
            ] {
                wire.prepare(sql, sql, &[Type::INT8]).await.unwrap();
                let one = [Value::Int8(7)];
                assert_eq!(wire.execute(sql, &one).await.unwrap(), rows, "{sql}");
            }
            assert!(!wire.is_closed());
        });
    }

    /// A server that lets anyone in and then answers the first statement with these bytes, cut into
    /// pieces, before it closes.
    async fn says(pieces: Vec<Vec<u8>>) -> Connector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut heard = [0; 1_024];
            let _ = stream.read(&mut heard).await.unwrap();
            let welcome = [b'R', 0, 0, 0, 8, 0, 0, 0, 0, b'Z', 0, 0, 0, 5, b'I'];
            stream.write_all(&welcome).await.unwrap();
            // The limits of the session are lifted.
            let _ = stream.read(&mut heard).await.unwrap();
            let lifted = b"1\0\0\0\x042\0\0\0\x04C\0\0\0\x0dSELECT 0\0Z\0\0\0\x05I";
            stream.write_all(lifted).await.unwrap();
            if !pieces.is_empty() {
                let _ = stream.read(&mut heard).await.unwrap();
            }
            for piece in pieces {
                stream.write_all(&piece).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        connector(address)
    }

    #[test]
    fn answers_come_in_any_pieces_and_of_any_length() {
        let notice = [
            vec![b'N'],
            6_004_u32.to_be_bytes().to_vec(),
            vec![b'x'; 6_000],
        ]
        .concat();
        let done = b"2\0\0\0\x04C\0\0\0\x0fINSERT 0 7\0Z\0\0\0\x05I";
        let whole = [notice, done.to_vec()].concat();
        for size in [1_000, whole.len() - 3, whole.len()] {
            let pieces = whole.chunks(size).map(<[u8]>::to_vec).collect();
            runtime(async {
                let mut wire = says(pieces).await.wire().await.unwrap();
                assert_eq!(wire.execute("s", &[]).await.unwrap(), 7, "{size}");
            });
        }
    }

    #[test]
    fn a_server_that_goes_is_a_transport_failure_with_its_last_word() {
        let failed = |pieces| {
            runtime(async {
                let mut wire = says(pieces).await.wire().await.unwrap();
                wire.execute("s", &[]).await.unwrap_err()
            })
        };
        assert_eq!(failed(vec![vec![b'2', 0]]).class, FailureClass::Transport);
        let last = b"E\0\0\0\x1dSFATAL\0C57P01\0Mgoing\0\0".to_vec();
        let mut last = last;
        last[4] = u8::try_from(last.len() - 1).unwrap();
        let failure = failed(vec![last]);
        assert_eq!(failure.class, FailureClass::Transport);
        assert_eq!(failure.code.as_deref(), Some("57P01"));
        let strange = failed(vec![b"G\0\0\0\x04".to_vec()]);
        assert_eq!(strange.class, FailureClass::Malformed);
        let endless = failed(vec![vec![b'C', 0xFF, 0xFF, 0xFF, 0xFF]]);
        assert_eq!(endless.class, FailureClass::Malformed);
    }

    #[test]
    fn a_connection_that_was_closed_meanwhile_is_seen_as_closed() {
        runtime(async {
            let mut wire = says(Vec::new()).await.wire().await.unwrap();
            let closed = async {
                while !wire.is_closed() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), closed)
                .await
                .unwrap();
        });
    }
}
