/* The stub, last part: its beginning and its ends. code.rs says which register means what; the names in braces are its constants. */

/* Connect if there is an address, and serve. The flags are the program's until here. */
.Lstub_entry:
    push 0x202
    popfq
    lea r15, [rip + mos_stub_begin]
    mov dword ptr [r15 + {serving}], 1
    lea rbx, [r15 + {staging}]
    mov dword ptr [r15 + {answer}], {kind_reply}
    lea rax, [r15 + {iov}]
    mov [r15 + {message} + 16], rax
    mov qword ptr [r15 + {message} + 24], 2
    cmp qword ptr [r15 + {decision}], 0
    jne 1f
    lea rax, [r15 + {decided}]
    mov [r15 + {decision}], rax
1:  lea r8, [r15 + {saved}]
    call .Lstub_read_actions
    cmp dword ptr [r15 + {address_len}], 0
    je .Lstub_receive
    movzx edi, word ptr [r15 + {address}]
    mov esi, {sock_stream} | {sock_cloexec}
    xor edx, edx
    mov eax, {socket}
    syscall
    test eax, eax
    js .Lstub_lost
    mov [r15 + {channel}], eax
    mov edi, eax
    lea rsi, [r15 + {address}]
    mov edx, [r15 + {address_len}]
    mov eax, {connect}
    syscall
    test eax, eax
    jnz .Lstub_lost
    mov edx, [r15 + {greeting_len}]
    test edx, edx
    jz 1f
    lea rsi, [r15 + {greeting}]
    call .Lstub_send
1:  mov edi, [r15 + {channel}]
    mov esi, [r15 + {wanted}]
    cmp edi, esi
    je .Lstub_receive
    mov edx, {cloexec}
    mov eax, {dup3}
    syscall
    test eax, eax
    js .Lstub_lost
    mov edi, [r15 + {channel}]
    mov [r15 + {channel}], eax
    mov eax, {close}
    syscall
    jmp .Lstub_receive

/* The channel has ended. Its former owner may still be there, at the end of the spare channel: it is told that it owns the
   deputy again, unless the hand-over of the whole process is final. */
.Lstub_lost:
    mov r12d, [r15 + {spare}]
    test r12d, r12d
    jz 1f
    mov rcx, [r15 + {decision}]
    mov edx, {fallen_back}
    mov eax, {undecided}
    lock cmpxchg dword ptr [rcx + 8], edx
    cmp eax, {final}
    je 1f
    mov dword ptr [r15 + {spare}], 0
    mov edi, r12d
    mov esi, [r15 + {channel}]
    mov edx, {cloexec}
    mov eax, {dup3}
    syscall
    mov edi, r12d
    mov eax, {close}
    syscall
    lea rsp, [r15 + {stack_top}]
    mov dword ptr [r15 + {answer} + 4], 0
    mov qword ptr [r15 + {answer} + 8], {fell_back}
    lea rsi, [r15 + {answer}]
    mov edx, 16
    call .Lstub_send
    jmp .Lstub_idle

/* Back to where the program was, if there is a way back. All threads of a process go the same way: the first one's choice counts, and
   it gives the actions back before any other goes on. */
1:  cmp qword ptr [r15 + {rollback}], 0
    je .Lstub_die
    call .Lstub_block_all
    mov eax, [r15 + {kept}]
    mov [r15 + {head}], eax
    xor r12d, r12d
    mov r13, [r15 + {rollback}]
    mov rcx, [r15 + {decision}]
    mov edx, {rolling_back}
    mov eax, {undecided}
    lock cmpxchg dword ptr [rcx], edx
    cmp eax, {committed}
    je .Lstub_die
    cmp eax, {undecided}
    jne 1f
    lea r8, [r15 + {saved}]
    call .Lstub_write_actions
    mov rcx, [r15 + {decision}]
    mov dword ptr [rcx], {rolled_back}
    jmp .Lstub_leave
1:  mov rcx, [r15 + {decision}]
    cmp dword ptr [rcx], {rolled_back}
    je .Lstub_leave
    mov eax, {sched_yield}
    syscall
    jmp 1b

/* Leave by the signal frame at r13; queued signals become pending ones. */
.Lstub_leave:
    call .Lstub_block_all
    mov eax, {getpid}
    syscall
    mov ebp, eax
    mov eax, {gettid}
    syscall
    mov r14d, eax
1:  mov ecx, [r15 + {head}]
    cmp ecx, [r15 + {tail}]
    je 2f
    and ecx, {queue} - 1
    imul ecx, ecx, {queued_len}
    lea r10, [r15 + rcx + {slots} + 16]
    mov edx, [r10]
    mov edi, ebp
    mov esi, r14d
    mov eax, {rt_tgsigqueueinfo}
    syscall
    inc dword ptr [r15 + {head}]
    jmp 1b
2:  mov edi, [r15 + {spare}]
    test edi, edi
    jz 3f
    mov eax, {close}
    syscall
/* What held a frozen process: behind the 16 bytes of the record's header, which begins with its length. */
3:  cmp dword ptr [r15 + {parked}], 0
    je 7f
    lea rbp, [r15 + {parking}]
    mov r14, [rbp]
    add r14, rbp
    add rbp, 16
6:  cmp rbp, r14
    jae 7f
    mov edi, [rbp]
    add rbp, 4
    mov eax, {close}
    syscall
    jmp 6b
7:  mov dword ptr [r15 + {parked}], 0
    mov edi, [r15 + {channel}]
    mov eax, {close}
    syscall
    test r12d, {resume}
    jz 5f
/* No thread runs the program before all have given up their channels: what it does with descriptors cannot harm them. */
    mov r14, [rbx + 16]
    mov rcx, [r15 + {decision}]
    lock inc dword ptr [rcx + 4]
4:  mov rcx, [r15 + {decision}]
    cmp [rcx + 4], r14d
    jae 5f
    mov eax, {sched_yield}
    syscall
    jmp 4b
5:  mov dword ptr [r15 + {serving}], 0
    lea rsp, [r13 + 8]
    mov eax, {rt_sigreturn}
    syscall

/* One thread says it. */
.Lstub_die:
    mov rcx, [r15 + {decision}]
    mov eax, {dying}
    xchg dword ptr [rcx], eax
    cmp eax, {dying}
    je 1f
    lea rsi, [r15 + {lost}]
    mov edx, [r15 + {lost_len}]
    mov edi, 2
    mov eax, {write}
    syscall
1:  mov eax, {getpid}
    syscall
    mov edi, eax
    mov esi, {sigkill}
    mov eax, {kill}
    syscall
/* The first process of a pid namespace survives that. */
    mov edi, 128 + {sigkill}
    mov eax, {exit_group}
    syscall

    .balign 8
.Lstub_all:
    .quad -1
mos_stub_end:
    .popsection
