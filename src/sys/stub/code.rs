//! The stub's code. It may be anywhere: everything is relative to `rbp`, its base. FS and GS are the program's and not touched.
//!
//! Signals: the handler queues the `siginfo`. If it interrupted the way into the receive, or into an abortable call, after
//! the check of the queue (`recv_check … recv_sys`, `call_check … call_sys`), it moves the interrupted `rip` so that the check is
//! made again, or the call is not made: no signal can be slept over. A system call that was interrupted inside the kernel
//! returns `-EINTR` because the mirrored actions have no `SA_RESTART`.

use std::arch::global_asm;

global_asm!(
    r#"
    .pushsection .text
    .globl mos_stub_begin, mos_stub_end, mos_stub_handler, mos_stub_restorer, mos_stub_gadget, mos_stub_call_done
    .balign 64
    .set DATA, 0x1000
    .set CHAN, 0x1000
    .set HEAD, 0x1008
    .set TAIL, 0x1010
    .set MASKED, 0x1018
    .set MASK, 0x1020
    .set ROLLBACK, 0x1028
    .set CHANGED, 0x1030
    .set ADDRESS_LEN, 0x1038
    .set GREETING_LEN, 0x1040
    .set LOST_LEN, 0x1048
    .set ANSWER, 0x1050
    .set IOV, 0x1060
    .set MSG, 0x1080
    .set FAMILY, 0x10c0
    .set ALL, 0x10c8
    .set OUT_LEN, 0x10d0
    .set SIGNAL, 0x10e0
    .set ADDRESS, 0x1100
    .set GREETING, 0x1180
    .set LOST, 0x1200
    .set RING, 0x1400
    .set SAVED, 0x2000
    .set STAGE, 0x10000
    .set INLINE, 0x10070

mos_stub_begin:
    lea rbp, [rip + mos_stub_begin]
    cld
    /* Remember the program's signal actions for a rollback. */
    lea r12, [rbp + SAVED]
    call mos_stub_get_actions
    cmp qword ptr [rbp + ADDRESS_LEN], 0
    je mos_stub_loop
    mov eax, 41
    mov rdi, [rbp + FAMILY]
    mov esi, 0x80001
    xor edx, edx
    syscall
    test eax, eax
    js mos_stub_rollback
    mov r13d, eax
    mov eax, 42
    mov edi, r13d
    lea rsi, [rbp + ADDRESS]
    mov rdx, [rbp + ADDRESS_LEN]
    syscall
    test eax, eax
    js mos_stub_refused
    mov rdx, [rbp + GREETING_LEN]
    test rdx, rdx
    jz 2f
    mov eax, 44
    mov edi, r13d
    lea rsi, [rbp + GREETING]
    mov r10d, 0x4000
    xor r8d, r8d
    xor r9d, r9d
    syscall
    cmp rax, [rbp + GREETING_LEN]
    jne mos_stub_refused
2:  mov eax, 292
    mov edi, r13d
    mov rsi, [rbp + CHAN]
    mov edx, 0x80000
    syscall
    test eax, eax
    js mos_stub_refused
    mov eax, 3
    mov edi, r13d
    syscall
    jmp mos_stub_loop
mos_stub_refused:
    mov eax, 3
    mov edi, r13d
    syscall
    jmp mos_stub_rollback

    /* Receive a request's header. r14: bytes so far. */
mos_stub_loop:
    xor r14d, r14d
mos_stub_recv_check:
    mov rax, [rbp + HEAD]
    cmp rax, [rbp + TAIL]
    jne mos_stub_idle_signals
    mov eax, 45
    mov rdi, [rbp + CHAN]
    lea rsi, [rbp + r14 + STAGE]
    mov edx, 112
    sub rdx, r14
    xor r10d, r10d
    xor r8d, r8d
    xor r9d, r9d
mos_stub_recv_sys:
    syscall
    test rax, rax
    jle 3f
    add r14, rax
    cmp r14, 112
    jb mos_stub_recv_check
    jmp mos_stub_input
3:  cmp rax, -4
    je mos_stub_recv_check
    jmp mos_stub_lost
mos_stub_idle_signals:
    call mos_stub_send_signals
    jmp mos_stub_recv_check

    /* Receive its input. */
mos_stub_input:
    mov r12, [rbp + STAGE + 64]
    mov r13, [rbp + STAGE + 72]
    test r13, r13
    jnz 4f
    lea r13, [rbp + INLINE]
4:  test r12, r12
    jz mos_stub_run
    mov eax, 45
    mov rdi, [rbp + CHAN]
    mov rsi, r13
    mov rdx, r12
    mov r10d, 0x100
    xor r8d, r8d
    xor r9d, r9d
    syscall
    test rax, rax
    jle 5f
    add r13, rax
    sub r12, rax
    jmp 4b
5:  cmp rax, -4
    je 4b
    jmp mos_stub_lost

    /* Do what the flags (rbx) say. */
mos_stub_run:
    mov rbx, [rbp + STAGE]
    test ebx, 0x201
    jz 6f
    mov qword ptr [rbp + ROLLBACK], 0
6:  test ebx, 0xe8
    jnz mos_stub_special
    mov r15, [rbp + TAIL]
mos_stub_call_check:
    test ebx, 16
    jz 7f
    mov rax, [rbp + HEAD]
    cmp rax, [rbp + TAIL]
    jne mos_stub_aborted
7:  mov rdi, [rbp + STAGE + 16]
    mov rsi, [rbp + STAGE + 24]
    mov rdx, [rbp + STAGE + 32]
    mov r10, [rbp + STAGE + 40]
    mov r8, [rbp + STAGE + 48]
    mov r9, [rbp + STAGE + 56]
    mov rax, [rbp + STAGE + 8]
mos_stub_call_sys:
    syscall
mos_stub_call_done:
    test ebx, 0x102
    jz mos_stub_reply
    test rax, rax
    jnz mos_stub_reply
    test ebx, 2
    jnz mos_stub_child
    mov rcx, [rbp + STAGE + 104]
    mov [rbp + MASK], rcx
    jmp mos_stub_reply
mos_stub_aborted:
    mov rax, -5000
    jmp mos_stub_reply

    /* The new half of a fork: signals that the parent had caught are the parent's. */
mos_stub_child:
    mov [rbp + HEAD], r15
    mov qword ptr [rbp + ROLLBACK], 0
    mov eax, 292
    mov rdi, [rbp + STAGE + 104]
    mov rsi, [rbp + CHAN]
    mov edx, 0x80000
    syscall
    mov eax, 3
    mov rdi, [rbp + STAGE + 104]
    syscall
    jmp mos_stub_loop

mos_stub_special:
    test ebx, 128
    jnz mos_stub_resume
    test ebx, 32
    jz 8f
    mov r12, [rbp + STAGE + 80]
    call mos_stub_get_actions
8:  test ebx, 64
    jz 9f
    mov r12, [rbp + STAGE + 72]
    test r12, r12
    jnz 10f
    lea r12, [rbp + INLINE]
10: mov qword ptr [rbp + CHANGED], 1
    call mos_stub_set_actions
9:  xor eax, eax

    /* Answer with value rax. */
mos_stub_reply:
    mov [rbp + ANSWER + 8], rax
    mov rdx, [rbp + STAGE + 88]
    test ebx, 4
    jz 11f
    test rax, rax
    js 11f
    mov rcx, [rbp + STAGE + 96]
    cmp rax, rcx
    cmova rax, rcx
    add rdx, rax
11: mov dword ptr [rbp + ANSWER], 1
    mov [rbp + ANSWER + 4], edx
    mov [rbp + OUT_LEN], rdx
    mov rax, [rbp + HEAD]
    cmp rax, [rbp + TAIL]
    je 12f
    call mos_stub_send_signals
12: lea rax, [rbp + ANSWER]
    mov rcx, [rbp + STAGE + 80]
    mov rdx, [rbp + OUT_LEN]
    call mos_stub_send
    jmp mos_stub_loop

    /* Send 16 bytes at rax and rdx bytes at rcx. */
mos_stub_send:
    mov [rbp + IOV], rax
    mov qword ptr [rbp + IOV + 8], 16
    mov [rbp + IOV + 16], rcx
    mov [rbp + IOV + 24], rdx
    lea r12, [rdx + 16]
    lea rax, [rbp + IOV]
    mov [rbp + MSG + 16], rax
    mov qword ptr [rbp + MSG + 24], 2
13: mov eax, 46
    mov rdi, [rbp + CHAN]
    lea rsi, [rbp + MSG]
    mov edx, 0x4000
    syscall
    test rax, rax
    jle 15f
    sub r12, rax
    jz 16f
    mov rcx, [rbp + IOV + 8]
    cmp rax, rcx
    jb 14f
    sub rax, rcx
    mov qword ptr [rbp + IOV + 8], 0
    add [rbp + IOV + 16], rax
    sub [rbp + IOV + 24], rax
    jmp 13b
14: add [rbp + IOV], rax
    sub [rbp + IOV + 8], rax
    jmp 13b
15: cmp rax, -4
    je 13b
    cmp rax, -14
    jne mos_stub_lost
    /* Output that cannot be read (a file was cut short): any bytes keep the stream in step. */
    cmp qword ptr [rbp + IOV + 24], 0x70000
    ja mos_stub_lost
    lea rax, [rbp + STAGE]
    mov [rbp + IOV + 16], rax
    jmp 13b
16: ret

    /* Send all queued signals; if the queue was full, signals are taken again. */
mos_stub_send_signals:
    mov rax, [rbp + HEAD]
    cmp rax, [rbp + TAIL]
    je 17f
    and eax, 15
    shl eax, 7
    lea rcx, [rbp + rax + RING]
    mov dword ptr [rbp + SIGNAL], 2
    mov dword ptr [rbp + SIGNAL + 4], 128
    movsxd rax, dword ptr [rcx]
    mov [rbp + SIGNAL + 8], rax
    lea rax, [rbp + SIGNAL]
    mov edx, 128
    call mos_stub_send
    inc qword ptr [rbp + HEAD]
    jmp mos_stub_send_signals
17: cmp qword ptr [rbp + MASKED], 0
    je 18f
    mov qword ptr [rbp + MASKED], 0
    mov eax, 14
    mov edi, 2
    lea rsi, [rbp + MASK]
    xor edx, edx
    mov r10d, 8
    syscall
    jmp mos_stub_send_signals
18: ret

    /* Read, or set, all 64 actions from r12 on. */
mos_stub_get_actions:
    mov r13d, 1
19: mov eax, 13
    mov edi, r13d
    xor esi, esi
    mov rdx, r12
    mov r10d, 8
    syscall
    add r12, 32
    inc r13d
    cmp r13d, 64
    jbe 19b
    ret
mos_stub_set_actions:
    mov r13d, 1
20: cmp r13d, 9
    je 21f
    cmp r13d, 19
    je 21f
    mov eax, 13
    mov edi, r13d
    mov rsi, r12
    xor edx, edx
    mov r10d, 8
    syscall
21: add r12, 32
    inc r13d
    cmp r13d, 64
    jbe 20b
    ret

    /* The channel has ended. */
mos_stub_lost:
    cmp qword ptr [rbp + ROLLBACK], 0
    jne mos_stub_rollback
    mov eax, 1
    mov edi, 2
    lea rsi, [rbp + LOST]
    mov rdx, [rbp + LOST_LEN]
    syscall
22: mov eax, 39
    syscall
    mov edi, eax
    mov esi, 9
    mov eax, 62
    syscall
    jmp 22b

    /* Back to where the program was: its actions, the signals that were taken for it, its registers and mask. */
mos_stub_rollback:
    mov eax, 14
    mov edi, 2
    lea rsi, [rbp + ALL]
    xor edx, edx
    mov r10d, 8
    syscall
    cmp qword ptr [rbp + CHANGED], 0
    je 23f
    lea r12, [rbp + SAVED]
    call mos_stub_set_actions
23: mov rbx, [rbp + HEAD]
    cmp rbx, [rbp + TAIL]
    je 24f
    inc qword ptr [rbp + HEAD]
    and ebx, 15
    shl ebx, 7
    lea rbx, [rbp + rbx + RING]
    mov eax, 39
    syscall
    mov r13d, eax
    mov eax, 186
    syscall
    mov esi, eax
    mov edi, r13d
    mov edx, [rbx]
    mov r10, rbx
    mov eax, 297
    syscall
    jmp 23b
24: mov rbx, [rbp + ROLLBACK]
    jmp mos_stub_leave
mos_stub_resume:
    mov rbx, [rbp + STAGE + 80]
mos_stub_leave:
    mov eax, 3
    mov rdi, [rbp + CHAN]
    syscall
    lea rsp, [rbx + 8]
    mov eax, 15
    syscall
    int3

mos_stub_handler:
    lea r8, [rip + mos_stub_begin]
    mov rax, [r8 + TAIL]
    and eax, 15
    shl eax, 7
    lea rdi, [r8 + rax + RING]
    mov ecx, 16
    rep movsq
    inc qword ptr [r8 + TAIL]
    mov rax, [r8 + TAIL]
    sub rax, [r8 + HEAD]
    cmp rax, 16
    jb 25f
    mov qword ptr [rdx + 296], -1
    mov qword ptr [r8 + MASKED], 1
25: mov rax, [rdx + 168]
    lea rcx, [rip + mos_stub_recv_check]
    cmp rax, rcx
    jb 26f
    lea r9, [rip + mos_stub_recv_sys]
    cmp rax, r9
    ja 26f
    mov [rdx + 168], rcx
    ret
26: lea rcx, [rip + mos_stub_call_check]
    cmp rax, rcx
    jb 27f
    lea r9, [rip + mos_stub_call_sys]
    cmp rax, r9
    ja 27f
    test byte ptr [r8 + STAGE], 16
    jz 27f
    lea rcx, [rip + mos_stub_aborted]
    mov [rdx + 168], rcx
27: ret
mos_stub_restorer:
    mov eax, 15
    syscall
mos_stub_gadget:
    syscall
    int3
mos_stub_end:
    .popsection
    "#
);
