//! The stub's data page as it is written into a process before the stub starts. Offsets are those of the assembler file.

/// Most bytes of the message for a lost channel.
const LOST_MAX: usize = 256;

/// What a stub is started with.
pub struct Data {
    channel_fd: i32,
    rollback: u64,
    family: u64,
    address: Vec<u8>,
    greeting: Vec<u8>,
    lost: Vec<u8>,
    mask: u64,
}

impl Data {
    /// A stub whose channel is descriptor `channel_fd`, open already unless one of the `connect` methods is used.
    pub fn new(channel_fd: i32) -> Data {
        Data {
            channel_fd,
            rollback: 0,
            family: 0,
            address: Vec::new(),
            greeting: Vec::new(),
            lost: Vec::new(),
            mask: !0,
        }
    }

    /// First connects to the abstract Unix socket `name` (at most 107 bytes).
    pub fn connect_abstract(mut self, name: &str) -> Data {
        self.family = libc::AF_UNIX as u64;
        self.address = (libc::AF_UNIX as u16).to_le_bytes().to_vec();
        self.address.push(0);
        self.address.extend(name.bytes().take(107));
        self
    }

    /// Address of the rollback frame.
    pub fn rollback(mut self, frame: u64) -> Data {
        self.rollback = frame;
        self
    }

    /// What is written to standard error when the channel is lost for good.
    pub fn lost(mut self, message: &str) -> Data {
        self.lost = message.bytes().take(LOST_MAX).collect();
        self
    }

    /// The page's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut page = vec![0; 0x400];
        let mut word = |at: usize, value: u64| page[at..at + 8].copy_from_slice(&value.to_le_bytes());
        word(0x00, self.channel_fd as u64);
        word(0x20, self.mask);
        word(0x28, self.rollback);
        word(0x38, self.address.len() as u64);
        word(0x40, self.greeting.len() as u64);
        word(0x48, self.lost.len() as u64);
        word(0xc0, self.family);
        word(0xc8, u64::MAX);
        page[0x100..0x100 + self.address.len()].copy_from_slice(&self.address);
        page[0x180..0x180 + self.greeting.len()].copy_from_slice(&self.greeting);
        page[0x200..0x200 + self.lost.len()].copy_from_slice(&self.lost);
        page
    }
}
