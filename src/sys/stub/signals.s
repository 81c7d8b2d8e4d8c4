/* The stub, third part: the queue of caught signals, masks and actions. code.rs says which register means what; the names in braces are its constants. */

/* Send all queued signals. */
.Lstub_send_signals:
    mov ecx, [r15 + {head}]
    cmp ecx, [r15 + {tail}]
    je .Lstub_unmask
    and ecx, {queue} - 1
    imul ecx, ecx, {queued_len}
    lea rsi, [r15 + rcx + {slots}]
    mov edx, {queued_len}
    call .Lstub_send
    inc dword ptr [r15 + {head}]
    cmp qword ptr [r15 + {rollback}], 0
    jne .Lstub_send_signals
    mov ecx, [r15 + {head}]
    mov [r15 + {kept}], ecx
    jmp .Lstub_send_signals

/* Let signals in again, if the queue was full and now has room. Signals that were sent make room: better to lose them in a
   rollback than never to take another one. */
.Lstub_unmask:
    cmp dword ptr [r15 + {masked}], 0
    je 1f
    mov ecx, [r15 + {tail}]
    mov edx, ecx
    mov eax, [r15 + {head}]
    sub ecx, eax
    cmp ecx, {queue}
    jae 1f
    sub edx, [r15 + {kept}]
    cmp edx, {queue}
    jb 2f
    mov [r15 + {kept}], eax
2:  mov dword ptr [r15 + {masked}], 0
    lea rsi, [r15 + {mask}]
    jmp .Lstub_set_mask
1:  ret

.Lstub_block_all:
    lea rsi, [rip + .Lstub_all]
.Lstub_set_mask:
    mov edi, {sig_setmask}
    xor edx, edx
    mov r10d, 8
    mov eax, {rt_sigprocmask}
    syscall
    ret

/* Store the 64 actions from r8 on, or set them from there. */
.Lstub_read_actions:
    mov r9d, 1
    mov r10d, 8
1:  mov edi, r9d
    xor esi, esi
    mov rdx, r8
    mov eax, {rt_sigaction}
    syscall
    add r8, 32
    inc r9d
    cmp r9d, 64
    jbe 1b
    ret
.Lstub_write_actions:
    mov r9d, 1
    mov r10d, 8
1:  cmp r9d, {sigkill}
    je 2f
    cmp r9d, {sigstop}
    je 2f
    mov edi, r9d
    mov rsi, r8
    xor edx, edx
    mov eax, {rt_sigaction}
    syscall
2:  add r8, 32
    inc r9d
    cmp r9d, 64
    jbe 1b
    ret

/* rsi: siginfo, rdx: ucontext. */
/* One handler serves all threads of a process: the range of the thread's own stub is the one that its stack is in. r8 is how far the
   handler's code lies behind that stub's. */
.Lstub_handler:
    lea r8, [rip + mos_stub_begin]
    mov r15, rsp
    and r15, -{stub_size}
    sub r8, r15
    mov ecx, [r15 + {tail}]
    mov eax, ecx
    sub eax, [r15 + {kept}]
    cmp eax, {queue}
    jae 3f
    and ecx, {queue} - 1
    imul ecx, ecx, {queued_len}
    lea rdi, [r15 + rcx + {slots}]
    mov dword ptr [rdi], {kind_signal}
    mov dword ptr [rdi + 4], {siginfo_len}
    movsxd rax, dword ptr [rsi]
    mov [rdi + 8], rax
    add rdi, 16
    mov ecx, {siginfo_len} / 8
    rep movsq
    inc dword ptr [r15 + {tail}]
    mov eax, [r15 + {tail}]
    sub eax, [r15 + {kept}]
    cmp eax, {queue}
    jb 1f
    mov qword ptr [rdx + {uc_mask}], -1
    mov dword ptr [r15 + {masked}], 1
1:  mov r9, [rdx + {uc_rip}]
    add r9, r8
    lea rax, [rip + .Lstub_receive]
    lea rcx, [rip + .Lstub_received]
    cmp r9, rax
    jb 2f
    cmp r9, rcx
    jb 4f
2:  lea rax, [rip + .Lstub_call]
    lea rcx, [rip + mos_stub_call_end]
    cmp r9, rax
    jb 3f
    cmp r9, rcx
    jae 3f
    lea rax, [rip + .Lstub_aborted]
4:  sub rax, r8
    mov [rdx + {uc_rip}], rax
3:  ret
