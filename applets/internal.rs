//! The processes that mos starts itself: `mos-host`, `mos-warden`, `mos-mover`. Not for people; they have no manual page.

use std::ffi::OsString;
use std::io::{self, Read};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use mos::config::Paths;
use mos::guest;
use mos::home::{mover, warden};
use mos::sys::unix::{self, Fork};
use mos::wire::client::Client;
use mos::wire::codec;
use mos::wire::node::Opening;

/// Runs one of them, if `name` is one; `args` are those behind the name.
pub fn run(name: &str, args: &[OsString]) -> Option<i32> {
    let run: fn(&[OsString]) -> io::Result<i32> = match name {
        "mos-host" => host,
        "mos-warden" => warden,
        "mos-mover" => mover,
        _ => return None,
    };
    log_to_file();
    Some(match run(args) {
        Ok(status) => status,
        Err(error) => {
            log::warn!("{name}: {error}");
            1
        }
    })
}

/// `MOS_LOG_FILE=FILE` makes these processes, which have no terminal, write what they do to a file (with `RUST_LOG` as its filter).
fn log_to_file() {
    let Some(path) = std::env::var_os("MOS_LOG_FILE") else {
        return;
    };
    let Ok(file) = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
    else {
        return;
    };
    let filter = env_logger::Env::default().default_filter_or("info");
    env_logger::Builder::from_env(filter)
        .target(env_logger::Target::Pipe(Box::new(file)))
        .init();
}

fn client() -> io::Result<Client> {
    Client::connect(&Paths::from_env())
}

/// Descriptor 3: the connection; 4: a file with the encoded opening, and the user for whom it was opened.
fn host(_: &[OsString]) -> io::Result<i32> {
    let conn = TcpStream::from(unix::inherited_fd(3)?);
    let mut bytes = Vec::new();
    std::fs::File::from(unix::inherited_fd(4)?).read_to_end(&mut bytes)?;
    let (opening, uid): (Opening, u32) = codec::decode(&bytes)?;
    guest::arrive::become_user(uid)?;
    match opening {
        Opening::Migrate(offer) => guest::arrive::run(conn, offer, client()?).map(|_| 0),
        other => Err(io::Error::other(format!("not for a host: {other:?}"))),
    }
}

fn job<T: serde::de::DeserializeOwned>(args: &[OsString]) -> io::Result<T> {
    let text = args
        .first()
        .ok_or_else(|| io::Error::other("no job was given"))?;
    ron::from_str(&text.to_string_lossy()).map_err(io::Error::other)
}

/// Descriptor 3: the connection to mosrun. It must not become mosrun's child.
fn warden(args: &[OsString]) -> io::Result<i32> {
    if unix::fork()? != Fork::Child {
        return Ok(0);
    }
    warden::run(&job(args)?, UnixStream::from(unix::inherited_fd(3)?)).map(|()| 0)
}

/// Descriptor 3: the warden; 4: the connection on which the process comes home, for that job.
fn mover(args: &[OsString]) -> io::Result<i32> {
    let job: mover::Job = job(args)?;
    let connection = match job {
        mover::Job::Back { .. } => Some(TcpStream::from(unix::inherited_fd(4)?)),
        _ => None,
    };
    Ok(mover::run(
        job,
        UnixStream::from(unix::inherited_fd(3)?),
        connection,
        client()?,
    ))
}
