//! `.log_mosrun`: where this file is, runs and moves are noted in the system's log.

use std::os::unix::net::UnixDatagram;

use super::Paths;

/// Priority of a syslog message: facility "daemon", level "info".
const DAEMON_INFO: u8 = 30;
/// Longest text; the rest is cut off.
const MAX_TEXT: usize = 900;

/// Notes `text` if the administrator wants it. A log that is not there or does not keep up loses messages, never programs.
pub fn note(paths: &Paths, text: &str) {
    if !paths.log_mosrun().exists() {
        return;
    }
    let text: String = text.chars().take(MAX_TEXT).collect();
    let message = format!("<{DAEMON_INFO}>mos[{}]: {text}", std::process::id());
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.set_nonblocking(true);
        let _ = socket.send_to(message.as_bytes(), paths.system_log());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_made_only_where_the_file_is() {
        let name = format!("mos-log-{:x}", crate::sys::unix::random_u64());
        let root = std::env::temp_dir().join(name);
        let paths = Paths::under(&root);
        std::fs::create_dir_all(paths.etc()).unwrap();
        std::fs::create_dir_all(root.join("dev")).unwrap();
        let log = UnixDatagram::bind(paths.system_log()).unwrap();
        log.set_nonblocking(true).unwrap();
        note(&paths, "unheard");
        std::fs::write(paths.log_mosrun(), "").unwrap();
        note(&paths, "heard");
        let mut bytes = [0; 100];
        let n = log.recv(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..n]);
        assert!(
            text.starts_with("<30>mos[") && text.ends_with("]: heard"),
            "{text}"
        );
        assert!(log.recv(&mut bytes).is_err());
        std::fs::remove_dir_all(&root).unwrap();
    }
}
