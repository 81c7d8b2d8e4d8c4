//! Everything that is not a list of nodes: password, speed, freezing, private files, mosrun, and the rest.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::Command;

use mos::config::freeze::{self, FreezeConf, FreezePolicy, LoadUnit};
use mos::config::private::{Place, PrivateConf, Whose};
use mos::config::{BestNode, MaxGuests, MosrunConf, read_retainpri, read_speed, save};

use super::Session;
use super::ask::number;

impl<R: BufRead, W: Write> Session<R, W> {
    /// 7.3: the password.
    pub fn password(&mut self) -> io::Result<()> {
        let file = self.paths.secret();
        if file.exists() {
            self.talk.say("There is a password already.")?;
        }
        self.talk.say("All nodes of all clusters that work together need the same one. Whoever knows it has power over all of them.")?;
        echo(false);
        let answers = self
            .talk
            .ask("New password (<Enter> changes nothing)")
            .and_then(|first| {
                let second = if first.is_empty() {
                    String::new()
                } else {
                    self.talk.ask("Once more")?
                };
                Ok((first, second))
            });
        echo(true);
        let (first, second) = answers?;
        if first.is_empty() {
            return Ok(());
        }
        if first != second {
            return self.talk.say("  They differ: nothing is changed.");
        }
        match save(&file, &format!("{first}\n"), 0o600) {
            Ok(()) => {
                self.changed = true;
                self.talk.say(&format!("  {} is written.", file.display()))
            }
            Err(why) => self.talk.say(&format!("  NOT written: {why}")),
        }
    }

    /// 4.4: the speed of this node's processors.
    pub fn speed(&mut self) -> io::Result<()> {
        let file = self.paths.speed();
        let now = read_speed(&file).unwrap_or(10_000);
        let question = "Speed of each processor (10000: the most usual one of your cluster)";
        let speed = self
            .talk
            .ask_until(question, &now.to_string(), number(1, 10_000_000))?;
        self.write(&file, &format!("{speed}\n"))
    }

    fn write(&mut self, file: &std::path::Path, text: &str) -> io::Result<()> {
        self.changed |= self.talk.save_checked(file, text, |_| Ok(()))?;
        Ok(())
    }

    /// 4.5: freezing.
    pub fn freezing(&mut self) -> io::Result<()> {
        let file = self.paths.freeze();
        loop {
            let mut conf = match FreezeConf::read(&file) {
                Ok(conf) => conf,
                Err(error) => {
                    return self
                        .talk
                        .say(&format!("  {error}: mend it by hand, or remove it"));
                }
            };
            let policy = conf
                .policy
                .map_or("none".to_string(), |policy| policy.to_string());
            self.talk.say(&format!("\nFreezing policy: {policy}"))?;
            let dirs: Vec<String> = conf
                .dirs
                .iter()
                .map(|(dir, weight)| format!("{} {weight}", dir.display()))
                .collect();
            let shown: Vec<&str> = dirs.iter().map(String::as_str).collect();
            self.list(
                &format!(
                    "Directories for frozen memory ({} without any)",
                    freeze::DEFAULT_DIR
                ),
                &shown,
            )?;
            let owner = conf.uid.map_or("root".to_string(), |uid| uid.to_string());
            self.talk.say(&format!("Owner of the files: {owner}"))?;
            self.talk.say("p - policy\nx - no policy\nn - new directory\nd NUMBER - remove a directory\nu - owner\nq - back")?;
            match self.talk.ask("Your choice")?.as_str() {
                "q" | "" => return Ok(()),
                "p" => conf.policy = Some(self.policy(conf.policy.unwrap_or_default())?),
                "x" => conf.policy = None,
                "n" => {
                    let dir = self.talk.ask("Directory, beginning with \"/\"")?;
                    let weight = self
                        .talk
                        .ask_or("Its weight (0: only when all others fail)", "1")?;
                    conf.dirs
                        .push((dir.into(), weight.parse().unwrap_or(f64::NAN)));
                }
                "u" => {
                    let uid = self.talk.ask("User number (<Enter>: root)")?;
                    conf.uid = uid.parse().ok();
                }
                choice => match self.index(choice, conf.dirs.len())? {
                    Some(index) => drop(conf.dirs.remove(index)),
                    None => continue,
                },
            }
            let check = |text: &str| {
                FreezeConf::parse(text, &file)
                    .map(drop)
                    .map_err(|error| error.to_string())
            };
            self.changed |= self.talk.save_checked(&file, &conf.to_string(), check)?;
        }
    }

    fn policy(&mut self, old: FreezePolicy) -> io::Result<FreezePolicy> {
        let standard = self.talk.yes(
            "Are the marks in standard load (otherwise in processes)",
            old.unit == LoadUnit::Standard,
        )?;
        self.talk.say("-1 means: does not apply.")?;
        let mut mark = |question: &str, old: Option<f64>| {
            let old = old.map_or("-1".to_string(), |mark| mark.to_string());
            self.talk
                .ask_until(question, &old, |text| match text.parse::<f64>() {
                    Ok(mark) if mark.is_finite() => Ok(Some(mark).filter(|mark| *mark >= 0.0)),
                    _ => Err("a number, please".to_string()),
                })
        };
        let red = mark("Red mark: processes are frozen above this load", old.red)?;
        let blue = mark("Blue mark: they go on below this load", Some(old.blue))?;
        let home = mark(
            "Home mark: from this load on, processes sent back home are frozen",
            old.home,
        )?;
        let cluster = mark(
            "Cluster mark: from this load on, processes sent back to this cluster are frozen",
            old.cluster,
        )?;
        let mut whole = |question: &str, old: i64| {
            self.talk.ask_until(question, &old.to_string(), |text| {
                match text.parse::<i64>() {
                    Ok(n) if (-1..=i64::from(u32::MAX)).contains(&n) => Ok(n),
                    _ => Err("a whole number, please".to_string()),
                }
            })
        };
        let min_keep = whole(
            "Processes that are kept running whatever the load",
            old.min_keep.into(),
        )?;
        let max_procs = whole(
            "Processes that may run here at most",
            old.max_procs.map_or(-1, i64::from),
        )?;
        let slice = whole(
            "Minutes that a process runs while others are frozen",
            old.slice.into(),
        )?;
        let kill_memory = whole(
            "Megabytes from which a process is killed when freezing it fails (0: always)",
            old.kill_memory.into(),
        )?;
        let at_least_0 = |n: i64| n.max(0) as u32;
        Ok(FreezePolicy {
            unit: if standard {
                LoadUnit::Standard
            } else {
                LoadUnit::Processes
            },
            red,
            blue: blue.unwrap_or(-1.0),
            home,
            cluster,
            min_keep: at_least_0(min_keep),
            max_procs: u32::try_from(max_procs).ok(),
            slice: at_least_0(slice),
            kill_memory: at_least_0(kill_memory),
        })
    }

    /// 4.6: what mosrun does where the user says nothing.
    pub fn mosrun(&mut self) -> io::Result<()> {
        let file = self.paths.mosrun();
        let old = MosrunConf::read(&file).unwrap_or_default();
        self.talk.say("Where programs start: u - the user decides, d - on the best node unless the user says otherwise, f - always on the best node")?;
        let best = match old.best {
            BestNode::User => "u",
            BestNode::Default => "d",
            BestNode::Force => "f",
        };
        let best = self
            .talk
            .ask_until("Your choice", best, |text| match text {
                "u" => Ok(BestNode::User),
                "d" => Ok(BestNode::Default),
                "f" => Ok(BestNode::Force),
                _ => Err("u, d or f, please".to_string()),
            })?;
        self.talk.say("System calls that are not supported: u - as the user says, e - fail with an error, w - and with a message")?;
        let unsupported = match old.unsupported {
            None => "u",
            Some(1) => "e",
            Some(_) => "w",
        };
        let unsupported = self
            .talk
            .ask_until("Your choice", unsupported, |text| match text {
                "u" => Ok(None),
                "e" => Ok(Some(1)),
                "w" => Ok(Some(2)),
                _ => Err("u, e or w, please".to_string()),
            })?;
        let need_memory = self.talk.yes(
            "Must ordinary users say how much memory a program needs (-m)",
            old.need_memory,
        )?;
        let portable = self.talk.yes(
            "Should programs use no more of the processor than all nodes have (--portable)",
            old.portable,
        )?;
        let conf = MosrunConf {
            best,
            unsupported,
            need_memory,
            portable,
        };
        self.write(&file, &conf.to_string())
    }

    /// 5.4: private temporary files.
    pub fn private(&mut self) -> io::Result<()> {
        let file = self.paths.private();
        let mut conf = match PrivateConf::read(&file) {
            Ok(conf) => conf,
            Err(error) => {
                return self
                    .talk
                    .say(&format!("  {error}: mend it by hand, or remove it"));
            }
        };
        self.talk
            .say("Directories for the private files of processes; \"-\" for none.")?;
        for (whose, what) in [
            (Whose::Own, "processes of this node"),
            (Whose::Cluster, "guests from this cluster"),
            (Whose::Others, "guests from other clusters"),
        ] {
            let old = conf.place(whose).cloned();
            let dir = old
                .as_ref()
                .map_or("-".to_string(), |place| place.dir.display().to_string());
            let question = format!("Directory for {what}");
            let dir = self.talk.ask_until(&question, &dir, |text| match text {
                "-" => Ok(None),
                dir if dir.starts_with('/') && !dir.contains(char::is_whitespace) => {
                    Ok(Some(dir.to_string()))
                }
                _ => Err("a directory that begins with \"/\", or \"-\"".to_string()),
            })?;
            let place = match dir {
                None => None,
                Some(dir) => {
                    let limit = old.map_or(whose.default_limit(), |place| place.limit);
                    let limit = self.talk.ask_until(
                        "Most megabytes of a process",
                        &limit.to_string(),
                        number(0, u32::MAX),
                    )?;
                    Some(Place {
                        dir: dir.into(),
                        limit,
                    })
                }
            };
            conf.set(whose, place);
        }
        self.write(&file, &conf.to_string())
    }

    /// 4.2.3, 4.3.5, 4.3.6 and 5.2: the rest.
    pub fn miscellaneous(&mut self) -> io::Result<()> {
        loop {
            let address = std::fs::read_to_string(self.paths.mosip()).unwrap_or_default();
            let address = if address.trim().is_empty() {
                "found by itself"
            } else {
                address.trim()
            };
            let limits = MaxGuests::read(&self.paths.maxguests()).unwrap_or_default();
            let most = limits
                .now
                .map_or("any number".to_string(), |now| now.to_string());
            let retain = read_retainpri(&self.paths.retainpri()).unwrap_or(0);
            let log = if self.paths.log_mosrun().exists() {
                "yes"
            } else {
                "no"
            };
            self.talk.say(&format!(
                "\na - this node's address: {address}\nm - guests from other clusters: {most}\n\
                 r - seconds that lower priority waits after higher has left: {retain}\n\
                 l - runs and moves in the system's log: {log}\nv - directory for what mos notes\nq - back"
            ))?;
            match self.talk.ask("Your choice")?.as_str() {
                "q" | "" => return Ok(()),
                "a" => self.own_address()?,
                "m" => self.max_guests(limits)?,
                "r" => {
                    let question = "Seconds (0: none)";
                    let seconds =
                        self.talk
                            .ask_until(question, &retain.to_string(), number(0, u32::MAX))?;
                    self.write(&self.paths.retainpri(), &format!("{seconds}\n"))?;
                }
                "l" if self
                    .talk
                    .yes("Note runs and moves in the system's log", log == "yes")? =>
                {
                    self.write(&self.paths.log_mosrun(), "")?;
                }
                "l" => {
                    self.talk.remove(&self.paths.log_mosrun())?;
                    self.changed = true;
                }
                "v" => self.var()?,
                other => self
                    .talk
                    .say(&format!("  there is no choice \"{other}\""))?,
            }
        }
    }

    fn own_address(&mut self) -> io::Result<()> {
        let answer = self
            .talk
            .ask("Address (a.b.c.d; \"-\": found by itself; <Enter> changes nothing)")?;
        let file = self.paths.mosip();
        match answer.as_str() {
            "" => Ok(()),
            "-" => {
                self.changed = true;
                self.talk.remove(&file)
            }
            text => {
                let check = |text: &str| match text.trim().parse::<std::net::Ipv4Addr>() {
                    Ok(_) => Ok(()),
                    Err(_) => Err(format!("\"{}\" is no address", text.trim())),
                };
                self.changed |= self.talk.save_checked(&file, &format!("{text}\n"), check)?;
                Ok(())
            }
        }
    }

    fn max_guests(&mut self, old: MaxGuests) -> io::Result<()> {
        let file = self.paths.maxguests();
        let shown = old.now.map_or("-".to_string(), |now| now.to_string());
        let question = "Most guests from other clusters (\"-\": any number)";
        let now = self.talk.ask_until(question, &shown, |text| match text {
            "-" => Ok(None),
            text => number(0, u32::MAX)(text).map(Some),
        })?;
        match now {
            None => {
                self.changed = true;
                self.talk.remove(&file)
            }
            Some(_) => self.write(&file, &MaxGuests { now, before: None }.to_string()),
        }
    }

    /// `/etc/mosix/var`: a directory, or a link to `/var/mosix` where nothing can be written below `/etc`.
    fn var(&mut self) -> io::Result<()> {
        let var = self.paths.var();
        let linked = std::fs::symlink_metadata(&var).is_ok_and(|meta| meta.is_symlink());
        let question = format!(
            "Should {} be a link to /var/mosix (otherwise a directory)",
            var.display()
        );
        if self.talk.yes(&question, linked)? == linked && (linked || var.is_dir()) {
            return Ok(());
        }
        let made = if linked {
            std::fs::remove_file(&var).and_then(|()| std::fs::create_dir_all(&var))
        } else {
            let _ = std::fs::remove_dir(&var);
            let target = self.paths.root().join("var/mosix");
            std::fs::create_dir_all(target)
                .and_then(|()| std::os::unix::fs::symlink("/var/mosix", &var))
        };
        match made {
            Ok(()) => self
                .talk
                .say("  done; it holds from the next start of mosd on."),
            Err(error) => self.talk.say(&format!(
                "  {} cannot be replaced: {error} (end mosd and empty it first)",
                var.display()
            )),
        }
    }
}

/// Whether the terminal, if there is one, shows what is typed.
fn echo(on: bool) {
    if io::stdin().is_terminal() {
        // Without stty the password is seen while it is typed, which is no reason not to go on.
        let _ = Command::new("stty")
            .arg(if on { "echo" } else { "-echo" })
            .status();
    }
}
