/* The stub, second part: bytes in and out. code.rs says which register means what; the names in braces are its constants. */

/* Copy rcx bytes from rsi to rdi, which may overlap; rdi ends behind the copy. */
.Lstub_move:
    mov rax, rdi
    sub rax, rsi
    cmp rax, rcx
    jb 1f
    rep movsb
    ret
1:  lea r8, [rdi + rcx]
    lea rdi, [r8 - 1]
    lea rsi, [rsi + rcx - 1]
    std
    rep movsb
    cld
    mov rdi, r8
    ret

/* Receive rdx > 0 bytes to rdi. */
.Lstub_receive_all:
    mov rsi, rdi
    mov r10d, {waitall}
    xor r8d, r8d
    xor r9d, r9d
1:  mov edi, [r15 + {channel}]
    mov eax, {recvfrom}
    syscall
    cmp rax, -{eintr}
    je 1b
    test rax, rax
    jle .Lstub_lost
    add rsi, rax
    sub rdx, rax
    jnz 1b
    ret

/* Send rdx > 0 bytes from rsi. */
.Lstub_send:
    mov r10d, {nosignal}
    xor r8d, r8d
    xor r9d, r9d
1:  mov edi, [r15 + {channel}]
    mov eax, {sendto}
    syscall
    cmp rax, -{eintr}
    je 1b
    test rax, rax
    jle .Lstub_lost
    add rsi, rax
    sub rdx, rax
    jnz 1b
    ret

/* Send the answer's header and rdx bytes from r13. */
.Lstub_output:
    lea rax, [r15 + {answer}]
    mov [r15 + {iov}], rax
    mov qword ptr [r15 + {iov} + 8], 16
    mov [r15 + {iov} + 16], r13
    mov [r15 + {iov} + 24], rdx
1:  mov edi, [r15 + {channel}]
    lea rsi, [r15 + {message}]
    mov edx, {nosignal}
    mov eax, {sendmsg}
    syscall
    cmp rax, -{eintr}
    je 1b
    cmp rax, -{efault}
    je .Lstub_by_page
    test rax, rax
    jle .Lstub_lost
    mov rcx, [r15 + {iov} + 8]
    cmp rax, rcx
    cmovb rcx, rax
    add [r15 + {iov}], rcx
    sub [r15 + {iov} + 8], rcx
    sub rax, rcx
    add [r15 + {iov} + 16], rax
    sub [r15 + {iov} + 24], rax
    mov rcx, [r15 + {iov} + 8]
    or rcx, [r15 + {iov} + 24]
    jnz 1b
    jmp .Lstub_receive

/* Some of the output cannot be read. So that the stream stays in step, any bytes stand for pages that are not there. */
.Lstub_by_page:
    mov rsi, [r15 + {iov}]
    mov rdx, [r15 + {iov} + 8]
    test rdx, rdx
    jz 1f
    call .Lstub_send
1:  mov rsi, [r15 + {iov} + 16]
    mov r12, [r15 + {iov} + 24]
2:  test r12, r12
    jz .Lstub_receive
    mov edx, esi
    and edx, 4095
    neg rdx
    add rdx, 4096
    cmp rdx, r12
    cmova rdx, r12
3:  mov edi, [r15 + {channel}]
    mov r10d, {nosignal}
    xor r8d, r8d
    xor r9d, r9d
    mov eax, {sendto}
    syscall
    cmp rax, -{eintr}
    je 3b
    cmp rax, -{efault}
    je 4f
    test rax, rax
    jle .Lstub_lost
    add rsi, rax
    sub r12, rax
    jmp 2b
4:  lea rax, [rsi + rdx]
    sub r12, rdx
    push rax
    mov rsi, rbx
    call .Lstub_send
    pop rsi
    jmp 2b
