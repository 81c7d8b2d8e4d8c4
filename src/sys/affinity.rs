//! On which CPUs a process may run.

use std::io;
use std::mem::{size_of, zeroed};

use super::errno::check;

/// CPUs that this process may run on, ascending.
///
/// # Errors
///
/// On machines with more CPUs than a `cpu_set_t` holds (1024).
pub fn allowed() -> io::Result<Vec<usize>> {
    // SAFETY: a `cpu_set_t` is an array of bits, and the kernel fills at most its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        check(i64::from(libc::sched_getaffinity(
            0,
            size_of::<libc::cpu_set_t>(),
            &raw mut set,
        )))?;
        set
    };
    // SAFETY: the numbers are below the size of the set.
    let holds = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &set) };
    Ok((0..libc::CPU_SETSIZE as usize).filter(holds).collect())
}

/// Has thread `pid` (0: this one) run on these CPUs only, and what it starts from now on too.
///
/// # Errors
///
/// `EPERM` for a process of another user, `EINVAL` when none of the CPUs is there.
pub fn pin(pid: i32, cpus: &[usize]) -> io::Result<()> {
    // SAFETY: a `cpu_set_t` is an array of bits; numbers that are too large are left out; the kernel only reads it.
    let result = unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        for cpu in cpus.iter().filter(|cpu| **cpu < libc::CPU_SETSIZE as usize) {
            libc::CPU_SET(*cpu, &mut set);
        }
        libc::sched_setaffinity(pid, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    check(i64::from(result)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_has_one_cpu() {
        let before = allowed().unwrap();
        pin(0, &before[..1]).unwrap();
        assert_eq!(allowed().unwrap(), before[..1]);
        pin(0, &before).unwrap();
        assert_eq!(allowed().unwrap(), before);
        assert!(pin(0, &[]).is_err());
    }
}
