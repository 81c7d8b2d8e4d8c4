//! Calls whose arguments depend on each other, each family in its file.

pub(super) mod dents;
mod files;
mod ioctl;
mod ipc;
mod keys;
mod mounts;
mod msghdr;
mod poll;
pub(super) mod prctl;
mod process;
mod sockopt;
pub(super) mod vectors;

pub(super) use ipc::semaphores;

use super::Plan;
use super::pack::Pack;
use super::shape::Own;

/// Packs a call by its own code.
pub(super) fn pack(pack: Pack, how: Own) -> Plan {
    match how {
        Own::Read => vectors::read(pack),
        Own::Write => vectors::write(pack),
        Own::ReadV => vectors::readv(pack),
        Own::WriteV => vectors::writev(pack),
        Own::VmSplice => vectors::vmsplice(pack),
        Own::ProcessVm => vectors::process_vm(pack),
        Own::Transfer => vectors::transfer(pack),
        Own::SendTo => msghdr::sendto(pack),
        Own::RecvFrom => msghdr::recvfrom(pack),
        Own::SendMsg => msghdr::sendmsg(pack),
        Own::RecvMsg => msghdr::recvmsg(pack),
        Own::SendMMsg => msghdr::sendmmsg(pack),
        Own::RecvMMsg => msghdr::recvmmsg(pack),
        Own::SetSockOpt => sockopt::set(pack),
        Own::GetSockOpt => sockopt::get(pack),
        Own::Select => poll::select(pack),
        Own::PSelect => poll::pselect(pack),
        Own::Poll => poll::poll(pack),
        Own::EpollCtl => poll::epoll_ctl(pack),
        Own::Getdents => dents::getdents(pack),
        Own::Ioctl => ioctl::ioctl(pack),
        Own::Fcntl => files::fcntl(pack),
        Own::Pipe => files::pipe(pack),
        Own::XattrAt => files::xattr_at(pack),
        Own::Handle => files::handle(pack),
        Own::OpenHandle => files::open_handle(pack),
        Own::Prctl => prctl::prctl(pack),
        Own::WaitId => process::waitid(pack),
        Own::Caps => process::caps(pack),
        Own::SchedSetAttr => process::sched_setattr(pack),
        Own::Syslog => process::syslog(pack),
        Own::Reboot => process::reboot(pack),
        Own::Seccomp => process::seccomp(pack),
        Own::LandlockRule => process::landlock_rule(pack),
        Own::LsmAttr => process::lsm_attr(pack),
        Own::SemCtl => ipc::semctl(pack),
        Own::MsgCtl => ipc::msgctl(pack),
        Own::ShmCtl => ipc::shmctl(pack),
        Own::MsgSnd => ipc::msgsnd(pack),
        Own::MsgRcv => ipc::msgrcv(pack),
        Own::MqNotify => ipc::mq_notify(pack),
        Own::Keyctl => keys::keyctl(pack),
        Own::FsConfig => mounts::fsconfig(pack),
        Own::Quotactl => mounts::quotactl(pack),
        Own::Mount => mounts::mount(pack),
        Own::Sysfs => mounts::sysfs(pack),
        Own::StatMount => mounts::statmount(pack),
    }
}
