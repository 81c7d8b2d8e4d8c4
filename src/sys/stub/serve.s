/* The stub, first part: the loop. code.rs says which register means what; the names in braces are its constants. */

    .pushsection .text.mos_stub, "ax", @progbits
    .globl mos_stub_begin, mos_stub_end, mos_stub_call_end, mos_stub_plain_end
    .balign 64
mos_stub_begin:
    jmp .Lstub_entry
    .balign 16                          /* HANDLER */
    jmp .Lstub_handler
    .balign 16                          /* RESTORER */
    mov eax, {rt_sigreturn}
    syscall
    .balign 16                          /* GADGET */
    syscall
    int3
    .balign 16

/* An abortable call; its arguments are loaded. */
.Lstub_call:
    mov ecx, [r15 + {head}]
    cmp ecx, [r15 + {tail}]
    jne .Lstub_aborted
    mov rax, [rbx + 8]
    syscall
mos_stub_call_end:
    jmp .Lstub_called
.Lstub_aborted:
    mov rax, {aborted}
    jmp .Lstub_called

/* Another call. */
.Lstub_plain:
    mov rax, [rbx + 8]
    syscall
mos_stub_plain_end:
    jmp .Lstub_called

/* Take a look at the queue, then wait for a request. */
.Lstub_idle:
    call .Lstub_send_signals
.Lstub_receive:
    mov ecx, [r15 + {head}]
    cmp ecx, [r15 + {tail}]
    jne .Lstub_idle
    mov edi, [r15 + {channel}]
    mov rsi, rbx
    mov edx, {first}
    xor r10d, r10d
    xor r8d, r8d
    xor r9d, r9d
    mov eax, {recvfrom}
    syscall
.Lstub_received:
    cmp rax, {request_len}
    jl .Lstub_short
    mov rbp, rax
.Lstub_header:
    mov rdx, [rbx + 64]
    test rdx, rdx
    jnz .Lstub_input

/* Serve it. */
.Lstub_serve:
    mov r12, [rbx]
    mov r13, [rbx + 80]
    mov r14, [rbx + 88]
    mov rbp, [rbx + 96]
    test r12d, {program} | {commit}
    jz .Lstub_committed
    cmp qword ptr [r15 + {rollback}], 0
    jne .Lstub_commit
.Lstub_committed:
    test r12d, {no_call} | {fork} | {set_mask} | {get_actions} | {set_actions} | {resume} | {end_thread} | {settle}
    jnz .Lstub_special
.Lstub_load:
    mov rdi, [rbx + 16]
    mov rsi, [rbx + 24]
    mov rdx, [rbx + 32]
    mov r10, [rbx + 40]
    mov r8, [rbx + 48]
    mov r9, [rbx + 56]
    test r12d, {abortable}
    jz .Lstub_plain
    jmp .Lstub_call
.Lstub_called:
    test r12d, {fork} | {set_mask} | {thread}
    jnz .Lstub_after

/* Answer with the value rax. */
.Lstub_answer:
    mov [r15 + {answer} + 8], rax
    mov rdx, r14
    test r12d, {out_by_result}
    jz 1f
    test rax, rax
    jle 1f
    mov rcx, r12
    shr rcx, {unit_shift}
    jz 4f
    imul rax, rcx
4:  cmp rax, rbp
    cmova rax, rbp
    add rdx, rax
1:  mov [r15 + {answer} + 4], edx
    mov ecx, [r15 + {head}]
    cmp ecx, [r15 + {tail}]
    jne 3f
2:  test rdx, rdx
    jnz .Lstub_output
    lea rsi, [r15 + {answer}]
    mov edx, 16
    call .Lstub_send
    jmp .Lstub_receive
3:  push rdx
    call .Lstub_send_signals
    pop rdx
    jmp 2b

/* Fewer bytes than a header: rax. */
.Lstub_short:
    cmp rax, -{eintr}
    je .Lstub_receive
    test rax, rax
    jle .Lstub_lost
    mov rbp, rax
    lea rdi, [rbx + rbp]
    mov edx, {request_len}
    sub rdx, rbp
    call .Lstub_receive_all
    mov ebp, {request_len}
    jmp .Lstub_header

/* Input of rdx bytes; of header and input, rbp bytes are here. */
.Lstub_input:
    lea rsi, [rbx + {request_len}]
    lea rcx, [rbp - {request_len}]
    cmp rcx, rdx
    ja .Lstub_lost
    sub rdx, rcx
    mov rdi, [rbx + 72]
    test rdi, rdi
    jz 1f
    call .Lstub_move
    jmp 2f
1:  cmp qword ptr [rbx + 64], {staging_size} - {request_len}
    ja .Lstub_lost
    mov [rbx + 72], rsi
    lea rdi, [rsi + rcx]
2:  test rdx, rdx
    jz .Lstub_serve
    call .Lstub_receive_all
    jmp .Lstub_serve

/* The first request with which the process is away for good. */
.Lstub_commit:
    mov rcx, [r15 + {decision}]
    mov edx, {committed}
    mov eax, {undecided}
    lock cmpxchg dword ptr [rcx], edx
    cmp eax, {rolling_back}
    jae .Lstub_lost
    mov qword ptr [r15 + {rollback}], 0
    mov eax, [r15 + {head}]
    mov [r15 + {kept}], eax
    call .Lstub_unmask
    jmp .Lstub_committed

.Lstub_special:
    test r12d, {resume}
    jnz .Lstub_leave
    test r12d, {end_thread}
    jnz .Lstub_end_thread
    test r12d, {settle}
    jz 1f
    mov rcx, [r15 + {decision}]
    mov edx, {final}
    mov eax, {undecided}
    lock cmpxchg dword ptr [rcx + 8], edx
    cmp eax, {fallen_back}
    je .Lstub_lost
1:
    test r12d, {fork}
    jz 1f
    mov eax, [r15 + {tail}]
    mov [r15 + {fork_tail}], eax
1:  test r12d, {set_mask}
    jz 2f
/* While the queue is full, all signals stay blocked; the new mask is set as soon as there is room. */
    test r12d, {abortable}
    jnz 2f
    cmp dword ptr [r15 + {masked}], 0
    je 2f
    xor eax, eax
    jmp .Lstub_called
2:  test r12d, {get_actions}
    jz 3f
    mov r8, r13
    call .Lstub_read_actions
3:  test r12d, {set_actions}
    jz 4f
    mov r8, [rbx + 72]
    call .Lstub_write_actions
4:  test r12d, {no_call} | {get_actions} | {set_actions}
    jz .Lstub_load
    xor eax, eax
    jmp .Lstub_answer

/* After a call with FORK, THREAD or SET_MASK. */
.Lstub_after:
    test rax, rax
    jnz .Lstub_answer
    test r12d, {thread}
    jz 2f
/* The new thread: on its stack it has the entry of its own stub. */
    ret
2:
    mov rcx, [rbx + 104]
    test r12d, {fork}
    jnz 1f
    mov [r15 + {mask}], rcx
    jmp .Lstub_answer
/* The child: its own channel, and only signals that are its own. */
1:  mov qword ptr [r15 + {rollback}], 0
    mov eax, [r15 + {fork_tail}]
    mov [r15 + {head}], eax
    mov [r15 + {kept}], eax
    mov edi, ecx
    mov esi, [r15 + {channel}]
    mov edx, {cloexec}
    mov eax, {dup3}
    syscall
    test eax, eax
    js .Lstub_die
    mov edi, [rbx + 104]
    mov eax, {close}
    syscall
    jmp .Lstub_idle

/* The thread ends, and its channel with it. */
.Lstub_end_thread:
    mov r12, [rbx + 16]
    call .Lstub_block_all
    mov edi, [r15 + {channel}]
    mov eax, {close}
    syscall
    mov rdi, r12
    mov eax, {exit}
    syscall
