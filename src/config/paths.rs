//! Where a node's files are.

use std::path::{Path, PathBuf};

/// The paths of one node: all below its root, which is `/` but for tests, images and `mos playground`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// The node that the environment means: `MOSIX_ROOT`, or this machine.
    pub fn from_env() -> Paths {
        match std::env::var_os("MOSIX_ROOT") {
            Some(root) if !root.is_empty() => Paths::under(root),
            _ => Paths::under("/"),
        }
    }

    /// The node whose root directory is `root`.
    pub fn under(root: impl Into<PathBuf>) -> Paths {
        Paths { root: root.into() }
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `/etc/mosix`.
    pub fn etc(&self) -> PathBuf {
        self.root.join("etc/mosix")
    }

    /// The directory of sockets, locks, and what mosd notes while it runs.
    pub fn var(&self) -> PathBuf {
        self.etc().join("var")
    }

    /// The nodes of the cluster.
    pub fn map(&self) -> PathBuf {
        self.etc().join("mosix.map")
    }

    /// Numbers of nodes.
    pub fn userview(&self) -> PathBuf {
        self.etc().join("userview.map")
    }

    /// The password of the cluster.
    pub fn secret(&self) -> PathBuf {
        self.etc().join("secret")
    }

    /// This node's address, where it is not plain.
    pub fn mosip(&self) -> PathBuf {
        self.etc().join("mosip")
    }

    /// Relative speed of this node's processors.
    pub fn speed(&self) -> PathBuf {
        self.etc().join("speed")
    }

    /// Features of this node's processor that count as absent.
    pub fn hidden(&self) -> PathBuf {
        self.etc().join("hidefeatures")
    }

    /// TCP and UDP ports, where they are not the usual ones.
    pub fn ports(&self) -> PathBuf {
        self.etc().join("ports")
    }

    /// When processes are frozen, and where to.
    pub fn freeze(&self) -> PathBuf {
        self.etc().join("freeze.conf")
    }

    /// The directory of the other clusters' files.
    pub fn partners(&self) -> PathBuf {
        self.etc().join("partners")
    }

    /// Where private temporary files are kept.
    pub fn private(&self) -> PathBuf {
        self.etc().join("private.conf")
    }

    /// How long guests of lower priority wait.
    pub fn retainpri(&self) -> PathBuf {
        self.etc().join("retainpri")
    }

    /// How many guests from other clusters may be here.
    pub fn maxguests(&self) -> PathBuf {
        self.etc().join("maxguests")
    }

    /// What the administrator wants of mosrun.
    pub fn mosrun(&self) -> PathBuf {
        self.etc().join("mosrun.conf")
    }

    /// Where it exists, runs and moves are noted in the system's log.
    pub fn log_mosrun(&self) -> PathBuf {
        self.etc().join(".log_mosrun")
    }

    /// The system log's socket.
    pub fn system_log(&self) -> PathBuf {
        self.root.join("dev/log")
    }

    /// What mosd was told by the tools, until the machine is started again.
    pub fn state(&self) -> PathBuf {
        self.var().join("state")
    }

    /// The map and the partners of the job that `mos_in_job` was called for.
    pub fn job(&self) -> PathBuf {
        self.var().join("multi")
    }

    /// Names of hosts.
    pub fn hosts(&self) -> PathBuf {
        self.root.join("etc/hosts")
    }

    /// mosd's control socket.
    pub fn socket(&self) -> PathBuf {
        self.var().join("mosd.sock")
    }

    /// Locked by the mosd of this root as long as it runs; has its pid.
    pub fn lock(&self) -> PathBuf {
        self.var().join("mosd.pid")
    }

    /// What mosd has to say when it runs in the background.
    pub fn log(&self) -> PathBuf {
        self.var().join("mosd.log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_below_the_root() {
        assert_eq!(Paths::under("/").map(), Path::new("/etc/mosix/mosix.map"));
        assert_eq!(
            Paths::under("/x").socket(),
            Path::new("/x/etc/mosix/var/mosd.sock")
        );
    }
}
