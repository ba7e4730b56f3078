//! A null Postgres server: answers every statement at once and keeps nothing. What a generator measures
//! against it is the generator's own cost, as with [`crate::drivers::s3::null`].
//!
//! It speaks as much of the protocol (version 3.0, the chapter "Frontend/Backend Protocol" of the
//! PostgreSQL manual) as `pgbench` and this project's workloads use: start without a password, the simple
//! and the extended query, and COPY from the client. INSERT, UPDATE and DELETE are said to have touched one
//! row. The few queries by which the instrument observes a server are answered, mostly with zeros; any other
//! SELECT is an error, because an answer would have to be invented.

mod answers;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, Ordering};

use bakeoff_crds::conditions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use self::answers::{Answer, Column, answer};
use crate::drivers::null_server;
use crate::drivers::stall::Stall;

/// Longer messages end the connection; a row of COPY is the longest that is expected.
const MAX_MESSAGE: usize = 1 << 24;

const STARTUP_CANCEL: u32 = 80_877_102;
const STARTUP_TLS: u32 = 80_877_103;
const STARTUP_GSS: u32 = 80_877_104;

/// Serves until the process ends. `stall` is a planted fault. `started` is told the address, which differs from `listen` when that
/// asks for a free port.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    listen: SocketAddr,
    stall: Stall,
    started: impl FnOnce(SocketAddr),
) -> std::io::Result<()> {
    null_server::accept(listen, started, move |stream| converse(stream, stall)).await
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    stall: Stall,
) -> std::io::Result<()> {
    let mut input = Vec::with_capacity(1 << 14);
    let mut session = Session::new();
    loop {
        let mut used = 0;
        while let Some(length) = session.take(&input[used..])? {
            used += length;
        }
        input.drain(..used);
        if !session.output.is_empty() {
            stall.pass().await;
            stream.write_all(&session.output).await?;
            session.output.clear();
        }
        if session.over || stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

/// One connection: takes what the client says and collects what is to be answered. (Pure.)
#[derive(Debug, Default)]
struct Session {
    begun: bool,
    over: bool,
    /// In COPY everything but its own messages is ignored.
    copying: bool,
    /// After an error everything up to the next Sync is ignored.
    failed: bool,
    /// The prepared statements: answer and the types of parameters that the client named.
    statements: HashMap<Vec<u8>, (Answer, Vec<u8>)>,
    /// The portal that was bound last; nobody here binds two.
    bound: Option<Answer>,
    /// The number of the process that the client is told, one for each connection.
    process: i32,
    output: Vec<u8>,
}

/// In which form a column is sent.
#[derive(Clone, Copy)]
enum Form {
    Text = 0,
    Binary = 1,
}

fn broken(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what)
}

/// The four bytes at `at` as a number.
fn number(input: &[u8], at: usize) -> Option<u32> {
    let bytes = input.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// A text that ends with a zero, and what follows it.
fn text(input: &[u8]) -> std::io::Result<(&[u8], &[u8])> {
    let end = input
        .iter()
        .position(|&byte| byte == 0)
        .ok_or_else(|| broken("a text without end"))?;
    Ok((&input[..end], &input[end + 1..]))
}

/// What is said of a query that has no answer here.
fn unknown(sql: &[u8]) -> String {
    let sql = String::from_utf8_lossy(sql);
    format!(
        "the null server has no answer to: {}",
        conditions::shorten(&sql, 200)
    )
}

/// How many columns follow.
fn count(columns: &[Column]) -> Vec<u8> {
    let count = u16::try_from(columns.len()).unwrap_or(0);
    count.to_be_bytes().to_vec()
}

impl Session {
    fn new() -> Self {
        static LAST: AtomicI32 = AtomicI32::new(0);
        Self {
            process: LAST.fetch_add(1, Ordering::Relaxed) + 1,
            ..Self::default()
        }
    }

    /// Takes one whole message from the front of the input; answers its length, `None` when there is none.
    fn take(&mut self, input: &[u8]) -> std::io::Result<Option<usize>> {
        let head = usize::from(self.begun);
        let Some(length) = number(input, head) else {
            return Ok(None);
        };
        let length = head + usize::try_from(length).unwrap_or(usize::MAX);
        if !(head + 4..=MAX_MESSAGE).contains(&length) {
            return Err(broken("a message of an impossible length"));
        }
        let Some(body) = input.get(head + 4..length) else {
            return Ok(None);
        };
        if self.begun {
            self.message(input[0], body)?;
        } else {
            self.start(body)?;
        }
        Ok(Some(length))
    }

    fn start(&mut self, body: &[u8]) -> std::io::Result<()> {
        match number(body, 0) {
            Some(STARTUP_TLS | STARTUP_GSS) => self.output.push(b'N'),
            Some(STARTUP_CANCEL) => self.over = true,
            Some(version) if version >> 16 == 3 => {
                self.begun = true;
                self.put(b'R', &0_u32.to_be_bytes());
                for status in [
                    "server_version\x0018.0\0",
                    "client_encoding\0UTF8\0",
                    "standard_conforming_strings\0on\0",
                    "integer_datetimes\0on\0",
                ] {
                    self.put(b'S', status.as_bytes());
                }
                let mut key = self.process.to_be_bytes().to_vec();
                key.extend_from_slice(&[0; 4]);
                self.put(b'K', &key);
                self.ready();
            }
            _ => return Err(broken("not the protocol of Postgres, version 3")),
        }
        Ok(())
    }

    fn message(&mut self, kind: u8, body: &[u8]) -> std::io::Result<()> {
        if self.copying {
            match kind {
                b'c' => {
                    self.copying = false;
                    self.tag("COPY 0");
                }
                b'f' => {
                    self.copying = false;
                    self.refuse("COPY was given up");
                }
                _ => {}
            }
            return Ok(());
        }
        if self.failed && kind != b'S' && kind != b'X' {
            return Ok(());
        }
        match kind {
            b'P' => {
                let (name, rest) = text(body)?;
                let (sql, types) = text(rest)?;
                let answer = answer(std::str::from_utf8(sql).unwrap_or(""));
                if answer == Answer::Refused {
                    self.refuse(&unknown(sql));
                    return Ok(());
                }
                self.statements
                    .insert(name.to_vec(), (answer, types.to_vec()));
                self.put(b'1', &[]);
            }
            b'B' => {
                let (_portal, rest) = text(body)?;
                let (name, _parameters) = text(rest)?;
                let Some((answer, _)) = self.statements.get(name) else {
                    self.refuse("no such statement");
                    return Ok(());
                };
                self.bound = Some(*answer);
                self.put(b'2', &[]);
            }
            b'D' => self.describe(body)?,
            b'E' => match self.bound {
                Some(answer) => self.execute(answer),
                None => self.refuse("no such portal"),
            },
            b'Q' => {
                let (sql, _) = text(body)?;
                match answer(std::str::from_utf8(sql).unwrap_or("")) {
                    Answer::Rows { columns, rows } => {
                        self.columns(columns, Form::Text);
                        self.rows(columns, rows, Form::Text);
                    }
                    Answer::Tag(tag) => self.tag(tag),
                    _ => self.refuse(&unknown(sql)),
                }
                self.ready();
            }
            b'S' => self.ready(),
            b'C' => self.put(b'3', &[]),
            b'H' => {}
            b'X' => self.over = true,
            _ => return Err(broken("a message of unknown kind")),
        }
        Ok(())
    }

    fn describe(&mut self, body: &[u8]) -> std::io::Result<()> {
        let answer = match body.split_first() {
            Some((b'S', rest)) => {
                let (name, _) = text(rest)?;
                let Some((answer, types)) = self.statements.get(name) else {
                    self.refuse("no such statement");
                    return Ok(());
                };
                let (answer, types) = (*answer, types.clone());
                self.put(b't', &types);
                answer
            }
            _ => self.bound.unwrap_or(Answer::Refused),
        };
        match answer {
            Answer::Rows { columns, .. } => self.columns(columns, Form::Binary),
            _ => self.put(b'n', &[]),
        }
        Ok(())
    }

    fn execute(&mut self, answer: Answer) {
        match answer {
            Answer::Tag(tag) => self.tag(tag),
            Answer::Rows { columns, rows } => self.rows(columns, rows, Form::Binary),
            Answer::CopyIn => {
                self.copying = true;
                // Binary, the number of columns not said.
                self.put(b'G', &[1, 0, 0]);
            }
            Answer::Refused => self.refuse("a statement that was refused"),
        }
    }

    fn columns(&mut self, columns: &[Column], form: Form) {
        let mut row = count(columns);
        for column in columns {
            // A name, no table, the type, its size unknown, no modifier.
            row.extend_from_slice(b"c\0\0\0\0\0\0\0");
            row.extend_from_slice(&column.oid().to_be_bytes());
            row.extend_from_slice(&[0xFF; 6]);
            row.extend_from_slice(&(form as u16).to_be_bytes());
        }
        self.put(b'T', &row);
    }

    fn rows(&mut self, columns: &[Column], rows: u8, form: Form) {
        for _ in 0..rows {
            let mut row = count(columns);
            for column in columns {
                let value = match form {
                    Form::Text => column.text(self.process),
                    Form::Binary => column.binary(self.process),
                };
                row.extend_from_slice(&u32::try_from(value.len()).unwrap_or(0).to_be_bytes());
                row.extend_from_slice(&value);
            }
            self.put(b'D', &row);
        }
        self.tag("SELECT 1");
    }

    fn put(&mut self, kind: u8, body: &[u8]) {
        self.output.push(kind);
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        self.output.extend_from_slice(&length.to_be_bytes());
        self.output.extend_from_slice(body);
    }

    fn tag(&mut self, tag: &str) {
        let mut body = tag.as_bytes().to_vec();
        body.push(0);
        self.put(b'C', &body);
    }

    fn ready(&mut self) {
        self.failed = false;
        self.put(b'Z', b"I");
    }

    fn refuse(&mut self, why: &str) {
        self.failed = true;
        let body = format!("SERROR\0VERROR\0C0A000\0M{why}\0\0");
        self.put(b'E', body.as_bytes());
    }
}
