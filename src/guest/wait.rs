//! What a host waits for.

use std::io;
use std::time::{Duration, Instant};

use crate::guest::host::{FIXED, Host, Phase, Thread};
use crate::guest::live::Live;
use crate::sys::poll::Source;

impl Host {
    /// Most calls are answered soon: the only deputy of a guest is waited for alone at first.
    fn answered_soon(&mut self) -> bool {
        match &mut self.threads[..] {
            [thread] => std::mem::take(&mut thread.just_asked) && thread.deputy.answers(),
            _ => false,
        }
    }

    /// Waits for whatever comes next; `ready` says for each source whether something is there.
    pub fn wait(&mut self, ready: &mut Vec<bool>) -> io::Result<()> {
        ready.clear();
        if self.answered_soon() {
            ready.extend([false; FIXED].into_iter().chain([true]));
            return Ok(());
        }
        let fixed: [Source; FIXED] = [
            self.listener_source,
            self.children_source,
            self.ctl.source(),
            match self.mosd_at {
                Some(_) => Source::NONE,
                None => self.client_source,
            },
            self.live.as_ref().map_or(Source::NONE, Live::source),
        ];
        let channels = self.threads.iter().map(|thread| thread.deputy.source());
        self.sources.clear();
        self.sources.extend(fixed.into_iter().chain(channels));
        let begun = |thread: &Thread| thread.deputy.has_begun();
        let patience = match self.threads.iter().any(begun) {
            true => Duration::ZERO,
            false => self.patience(),
        };
        self.watch.wait(&self.sources, patience, ready)?;
        for (ready, thread) in ready[FIXED..].iter_mut().zip(&self.threads) {
            *ready |= begun(thread);
        }
        Ok(())
    }

    /// How long nothing need be done if nothing comes.
    fn patience(&self) -> Duration {
        let threads = self.threads.iter().flat_map(|thread| {
            let sleep = match &thread.phase {
                Phase::Sleeping(sleep) => Some(sleep.until),
                _ => None,
            };
            [sleep, thread.nudge_at]
        });
        let at = threads
            .flatten()
            .chain([self.cpu_at])
            .chain(self.mosd_at)
            .min()
            .unwrap_or(self.cpu_at);
        if self.client.has_message() {
            return Duration::ZERO;
        }
        let wait = at.saturating_duration_since(Instant::now());
        self.ctl.retry_in().map_or(wait, |retry| retry.min(wait))
    }
}
