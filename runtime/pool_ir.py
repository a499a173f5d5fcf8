"""The runtime's own native code, as LLVM IR text.

Five functions: `smelt_call` enters a program without the GIL; `smelt_parallel_for` and `smelt_poll`
are the functions of `abi.Table`; `smelt_worker` is the life of a worker thread; `smelt_stop` ends
it. The driver has the text compiled once per target and the object is kept with every saved
executable, so that programs run where there is no compiler.

How a job is dispatched. The caller writes the job's fields and then JOB: a new number in the low
half and, in the high half, how many workers take part. Workers watch JOB. One that takes part runs
its share and decrements PENDING; the caller runs share 0 and waits for PENDING to be 0, so the
fields stay as they are while anybody reads them. One that does not take part reads nothing but the
word JOB itself. Whoever watches in vain for a while sleeps on a futex; the counts of sleepers are
raised before the last look and read after the news is out, both sequentially consistent, so no
wake-up is lost. A second caller, or a parallel loop inside a share, finds LOCK taken and runs the
same shares one after the other itself, which gives the same bits.

A share is run in pieces, between which the caller polls and everybody looks whether the call was
interrupted or has met a data error.
"""

from __future__ import annotations

from enum import IntEnum

from smelt.ir.abi import Context, Error
from smelt.runtime import machine_ir
from smelt.runtime.native_layout import CALL, PARALLEL_FOR, POLL, STOP, WORKER, Pool, Record, Trace

_PIECES = 8
_LEAST_PIECE = 8
_RECORD_WORDS = len(Record)
_CONTEXT_WORDS = len(Context)

_TEXT = """
define i32 @{CALL}(ptr %context) #0 {
  %record.at = getelementptr i64, ptr %context, i64 {Context.RUNTIME}
  %record = load ptr, ptr %record.at
  %error.at = getelementptr i64, ptr %context, i64 {Context.ERROR}
  %error = load ptr, ptr %error.at
  store <4 x i64> zeroinitializer, ptr %error, align 8 ; the four fields of abi.Error
  %interrupted = getelementptr i64, ptr %record, i64 {Record.INTERRUPTED}
  store i64 0, ptr %interrupted
  %now = call i64 @ticks()
  %interval = call i64 @interval()
  %then = add i64 %now, %interval
  %next = getelementptr i64, ptr %record, i64 {Record.NEXT_POLL}
  store i64 %then, ptr %next
  %entry = load ptr, ptr %record ; Record.ENTRY
  %save.at = getelementptr i64, ptr %record, i64 {Record.SAVE_THREAD}
  %save = load ptr, ptr %save.at
  %restore.at = getelementptr i64, ptr %record, i64 {Record.RESTORE_THREAD}
  %restore = load ptr, ptr %restore.at
  %thread.at = getelementptr i64, ptr %record, i64 {Record.THREAD}
  %saved = call ptr %save()
  store ptr %saved, ptr %thread.at
  %status = call i32 %entry(ptr %context)
  call void @stamp(ptr %record)
  %thread = load ptr, ptr %thread.at
  call void %restore(ptr %thread)
  ret i32 %status
}

; Leave a time stamp if anybody wants one.
define internal void @stamp(ptr %record) #0 {
entry:
  %trace.at = getelementptr i64, ptr %record, i64 {Record.TRACE}
  %trace = load ptr, ptr %trace.at
  %absent = icmp eq ptr %trace, null
  br i1 %absent, label %done, label %wanted
wanted:
  %capacity = load i64, ptr %trace ; Trace.CAPACITY
  %count.at = getelementptr i64, ptr %trace, i64 {Trace.COUNT}
  %count = load i64, ptr %count.at
  %room = icmp slt i64 %count, %capacity
  br i1 %room, label %put, label %done
put:
  %stamps = getelementptr i64, ptr %trace, i64 {Trace.STAMPS}
  %stamp.at = getelementptr i64, ptr %stamps, i64 %count
  %now = call i64 @ticks()
  store i64 %now, ptr %stamp.at
  %more = add i64 %count, 1
  store i64 %more, ptr %count.at
  br label %done
done:
  ret void
}

; Programs poll before each launch.
define i32 @{POLL}(ptr %context) #0 {
  %record.at = getelementptr i64, ptr %context, i64 {Context.RUNTIME}
  %record = load ptr, ptr %record.at
  call void @stamp(ptr %record)
  %stop = call i32 @look(ptr %context)
  ret i32 %stop
}

define internal i32 @look(ptr %context) #0 {
entry:
  %record.at = getelementptr i64, ptr %context, i64 {Context.RUNTIME}
  %record = load ptr, ptr %record.at
  %shared.at = getelementptr i64, ptr %record, i64 {Record.SHARED}
  %shared = load ptr, ptr %shared.at
  %interrupted = getelementptr i64, ptr %shared, i64 {Record.INTERRUPTED}
  %known = load atomic i64, ptr %interrupted monotonic, align 8
  %stop = icmp ne i64 %known, 0
  br i1 %stop, label %yes, label %may
may:
  %check.at = getelementptr i64, ptr %record, i64 {Record.CHECK_SIGNALS}
  %check = load ptr, ptr %check.at
  %absent = icmp eq ptr %check, null
  br i1 %absent, label %no, label %time
time:
  %now = call i64 @ticks()
  %next.at = getelementptr i64, ptr %record, i64 {Record.NEXT_POLL}
  %next = load i64, ptr %next.at
  %left = sub i64 %next, %now
  %early = icmp sgt i64 %left, 0
  br i1 %early, label %no, label %ask
ask:
  %interval = call i64 @interval()
  %then = add i64 %now, %interval
  store i64 %then, ptr %next.at
  %save.at = getelementptr i64, ptr %record, i64 {Record.SAVE_THREAD}
  %save = load ptr, ptr %save.at
  %restore.at = getelementptr i64, ptr %record, i64 {Record.RESTORE_THREAD}
  %restore = load ptr, ptr %restore.at
  %thread.at = getelementptr i64, ptr %record, i64 {Record.THREAD}
  %thread = load ptr, ptr %thread.at
  call void %restore(ptr %thread)
  %raised = call i32 %check()
  %again = call ptr %save()
  store ptr %again, ptr %thread.at
  %quiet = icmp eq i32 %raised, 0
  br i1 %quiet, label %no, label %set
set:
  store atomic i64 1, ptr %interrupted monotonic, align 8
  br label %yes
yes:
  ret i32 1
no:
  ret i32 0
}

; Run [begin, end) in pieces; stop early when the call was interrupted or has met a data error.
define internal void @run_range(ptr %context, ptr %body, ptr %environment, i64 %begin, i64 %end,
                                i64 %worker) #0 {
entry:
  %error.at = getelementptr i64, ptr %context, i64 {Context.ERROR}
  %error = load ptr, ptr %error.at
  %state.at = getelementptr i64, ptr %error, i64 {Error.STATE}
  %length = sub i64 %end, %begin
  %wanted = udiv i64 %length, {LEAST_PIECE}
  %at.most = call i64 @llvm.umin.i64(i64 %wanted, i64 {PIECES})
  %pieces = call i64 @llvm.umax.i64(i64 %at.most, i64 1)
  %up = add i64 %length, %pieces
  %up.less = sub i64 %up, 1
  %step = udiv i64 %up.less, %pieces
  br label %loop
loop:
  %from = phi i64 [ %begin, %entry ], [ %to, %look ]
  %more = icmp slt i64 %from, %end
  br i1 %more, label %piece, label %done
piece:
  %rest = sub i64 %end, %from
  %count = call i64 @llvm.umin.i64(i64 %rest, i64 %step)
  %to = add i64 %from, %count
  call void %body(ptr %context, ptr %environment, i64 %from, i64 %to, i64 %worker)
  %last = icmp sge i64 %to, %end
  br i1 %last, label %done, label %look
look:
  %state = load atomic i64, ptr %state.at monotonic, align 8
  %failed = icmp ne i64 %state, 0
  %poll = call i32 @look(ptr %context)
  %interrupted = icmp ne i32 %poll, 0
  %stop = or i1 %failed, %interrupted
  br i1 %stop, label %done, label %loop
done:
  ret void
}

; First iteration of share `worker` out of `parts`; the first shares are the longer ones.
define internal i64 @share(i64 %begin, i64 %end, i64 %parts, i64 %worker) #0 {
  %length = sub i64 %end, %begin
  %each = udiv i64 %length, %parts
  %longer = urem i64 %length, %parts
  %even = mul i64 %each, %worker
  %extra = call i64 @llvm.umin.i64(i64 %worker, i64 %longer)
  %sum = add i64 %even, %extra
  %start = add i64 %begin, %sum
  ret i64 %start
}

define internal void @run_share(ptr %context, ptr %body, ptr %environment, i64 %begin, i64 %end,
                                i64 %parts, i64 %part, i64 %worker) #0 {
  %from = call i64 @share(i64 %begin, i64 %end, i64 %parts, i64 %part)
  %next = add i64 %part, 1
  %to = call i64 @share(i64 %begin, i64 %end, i64 %parts, i64 %next)
  call void @run_range(ptr %context, ptr %body, ptr %environment, i64 %from, i64 %to, i64 %worker)
  ret void
}

define void @{PARALLEL_FOR}(ptr %context, ptr %body, ptr %environment, i64 %begin, i64 %end) #0 {
entry:
  %record.at = getelementptr i64, ptr %context, i64 {Context.RUNTIME}
  %record = load ptr, ptr %record.at
  %pool.at = getelementptr i64, ptr %record, i64 {Record.POOL}
  %pool = load ptr, ptr %pool.at
  %worker.at = getelementptr i64, ptr %record, i64 {Record.WORKER}
  %worker = load i64, ptr %worker.at
  %workers.at = getelementptr i64, ptr %record, i64 {Record.WORKERS}
  %workers = load i64, ptr %workers.at
  %nested.at = getelementptr i64, ptr %record, i64 {Record.NESTED}
  %nested = load i64, ptr %nested.at
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %begun, label %done
begun:
  %length = sub i64 %end, %begin
  %parts = call i64 @llvm.umin.i64(i64 %workers, i64 %length)
  %inner = icmp ne i64 %nested, 0
  %one = icmp eq i64 %parts, 1
  %here = or i1 %inner, %one
  %poolless = icmp eq ptr %pool, null
  %no.pool = or i1 %here, %poolless
  br i1 %no.pool, label %serial, label %claim
claim:
  %lock = getelementptr i64, ptr %pool, i64 {Pool.LOCK}
  %claimed = cmpxchg ptr %lock, i64 0, i64 1 acquire monotonic, align 8
  %mine = extractvalue { i64, i1 } %claimed, 1
  br i1 %mine, label %dispatch, label %serial
serial:
  %part = phi i64 [ 0, %begun ], [ 0, %claim ], [ %part.next, %serial ]
  ; A nested loop keeps its worker's memory; otherwise share and memory go together as they would
  ; in the pool.
  %number = select i1 %inner, i64 %worker, i64 %part
  call void @run_share(ptr %context, ptr %body, ptr %environment, i64 %begin, i64 %end,
                       i64 %parts, i64 %part, i64 %number)
  %part.next = add i64 %part, 1
  %again = icmp slt i64 %part.next, %parts
  br i1 %again, label %serial, label %done
dispatch:
  %context.at = getelementptr i64, ptr %pool, i64 {Pool.CONTEXT}
  store ptr %context, ptr %context.at
  %body.at = getelementptr i64, ptr %pool, i64 {Pool.BODY}
  store ptr %body, ptr %body.at
  %environment.at = getelementptr i64, ptr %pool, i64 {Pool.ENVIRONMENT}
  store ptr %environment, ptr %environment.at
  %begin.at = getelementptr i64, ptr %pool, i64 {Pool.BEGIN}
  store i64 %begin, ptr %begin.at
  %end.at = getelementptr i64, ptr %pool, i64 {Pool.END}
  store i64 %end, ptr %end.at
  %others = sub i64 %parts, 1
  %pending = getelementptr i64, ptr %pool, i64 {Pool.PENDING}
  store atomic i64 %others, ptr %pending monotonic, align 8
  %old = load atomic i64, ptr %pool monotonic, align 8 ; Pool.JOB
  %number.old = and i64 %old, 4294967295
  %number.next = add i64 %number.old, 1
  %number.new = and i64 %number.next, 4294967295
  %parts.high = shl i64 %parts, 32
  %job = or i64 %parts.high, %number.new
  store atomic i64 %job, ptr %pool seq_cst, align 8
  %sleepers.at = getelementptr i64, ptr %pool, i64 {Pool.SLEEPERS}
  %sleepers = load atomic i64, ptr %sleepers.at seq_cst, align 8
  %asleep = icmp ne i64 %sleepers, 0
  br i1 %asleep, label %rouse, label %mine.share
rouse:
  call void @wake(ptr %pool)
  br label %mine.share
mine.share:
  call void @run_share(ptr %context, ptr %body, ptr %environment, i64 %begin, i64 %end,
                       i64 %parts, i64 0, i64 0)
  %spins.at = getelementptr i64, ptr %pool, i64 {Pool.SPINS}
  %spins = load i64, ptr %spins.at
  br label %watch
watch:
  %spin = phi i64 [ %spins, %mine.share ], [ %spin.next, %wait ]
  %left = load atomic i64, ptr %pending acquire, align 8
  %finished = icmp eq i64 %left, 0
  br i1 %finished, label %release, label %patient
patient:
  %spin.next = sub i64 %spin, 1
  %tired = icmp slt i64 %spin, 1
  br i1 %tired, label %doze, label %wait
wait:
  call void @pause()
  br label %watch
doze:
  %waiting = getelementptr i64, ptr %pool, i64 {Pool.WAITING}
  store atomic i64 1, ptr %waiting seq_cst, align 8
  br label %dozing
dozing:
  %left.now = load atomic i64, ptr %pending seq_cst, align 8
  %finished.now = icmp eq i64 %left.now, 0
  br i1 %finished.now, label %awake, label %sleep
sleep:
  %left.word = trunc i64 %left.now to i32
  call void @sleep_while(ptr %pool, ptr %pending, i32 %left.word)
  br label %dozing
awake:
  store atomic i64 0, ptr %waiting monotonic, align 8
  br label %release
release:
  store atomic i64 0, ptr %lock release, align 8
  br label %done
done:
  ret void
}

define void @{WORKER}(ptr %pool, i64 %worker) #0 {
entry:
  %context = alloca [{CONTEXT_WORDS} x i64], align 64
  %record = alloca [{RECORD_WORDS} x i64], align 64
  %spins.at = getelementptr i64, ptr %pool, i64 {Pool.SPINS}
  %spins = load i64, ptr %spins.at
  %stop.at = getelementptr i64, ptr %pool, i64 {Pool.STOP}
  %sleepers = getelementptr i64, ptr %pool, i64 {Pool.SLEEPERS}
  br label %idle
idle:
  %seen = phi i64 [ 0, %entry ], [ %job, %changed ], [ %job, %finish ], [ %job, %tell ]
  br label %watch
watch:
  %spin = phi i64 [ %spins, %idle ], [ %spin.next, %wait ]
  %look = load atomic i64, ptr %pool acquire, align 8
  %same = icmp eq i64 %look, %seen
  br i1 %same, label %patient, label %news
patient:
  %spin.next = sub i64 %spin, 1
  %tired = icmp slt i64 %spin, 1
  br i1 %tired, label %doze, label %wait
wait:
  call void @pause()
  br label %watch
doze:
  %before = atomicrmw add ptr %sleepers, i64 1 seq_cst
  %seen.word = trunc i64 %seen to i32
  br label %dozing
dozing:
  %look.now = load atomic i64, ptr %pool seq_cst, align 8
  %same.now = icmp eq i64 %look.now, %seen
  br i1 %same.now, label %sleep, label %awake
sleep:
  call void @sleep_while(ptr %pool, ptr %pool, i32 %seen.word)
  br label %dozing
awake:
  %after = atomicrmw sub ptr %sleepers, i64 1 seq_cst
  br label %news
news:
  %job = phi i64 [ %look, %watch ], [ %look.now, %awake ]
  %stop = load atomic i64, ptr %stop.at acquire, align 8
  %leave = icmp ne i64 %stop, 0
  br i1 %leave, label %left, label %changed
changed:
  %parts = lshr i64 %job, 32
  %part.of.it = icmp ult i64 %worker, %parts
  br i1 %part.of.it, label %work, label %idle
work:
  %context.at = getelementptr i64, ptr %pool, i64 {Pool.CONTEXT}
  %callers = load ptr, ptr %context.at
  %body.at = getelementptr i64, ptr %pool, i64 {Pool.BODY}
  %body = load ptr, ptr %body.at
  %environment.at = getelementptr i64, ptr %pool, i64 {Pool.ENVIRONMENT}
  %environment = load ptr, ptr %environment.at
  %begin.at = getelementptr i64, ptr %pool, i64 {Pool.BEGIN}
  %begin = load i64, ptr %begin.at
  %end.at = getelementptr i64, ptr %pool, i64 {Pool.END}
  %end = load i64, ptr %end.at
  %copied = load [{CONTEXT_WORDS} x i64], ptr %callers
  store [{CONTEXT_WORDS} x i64] %copied, ptr %context
  %callers.record.at = getelementptr i64, ptr %callers, i64 {Context.RUNTIME}
  %callers.record = load ptr, ptr %callers.record.at
  %record.at = getelementptr i64, ptr %context, i64 {Context.RUNTIME}
  store ptr %record, ptr %record.at
  %r.pool = getelementptr i64, ptr %record, i64 {Record.POOL}
  store ptr %pool, ptr %r.pool
  %r.worker = getelementptr i64, ptr %record, i64 {Record.WORKER}
  store i64 %worker, ptr %r.worker
  %workers.at = getelementptr i64, ptr %callers.record, i64 {Record.WORKERS}
  %workers = load i64, ptr %workers.at
  %r.workers = getelementptr i64, ptr %record, i64 {Record.WORKERS}
  store i64 %workers, ptr %r.workers
  %r.nested = getelementptr i64, ptr %record, i64 {Record.NESTED}
  store i64 1, ptr %r.nested
  %r.shared = getelementptr i64, ptr %record, i64 {Record.SHARED}
  store ptr %callers.record, ptr %r.shared
  %r.check = getelementptr i64, ptr %record, i64 {Record.CHECK_SIGNALS}
  store i64 0, ptr %r.check
  %r.trace = getelementptr i64, ptr %record, i64 {Record.TRACE}
  store i64 0, ptr %r.trace
  call void @run_share(ptr %context, ptr %body, ptr %environment, i64 %begin, i64 %end,
                       i64 %parts, i64 %worker, i64 %worker)
  %pending = getelementptr i64, ptr %pool, i64 {Pool.PENDING}
  %was = atomicrmw sub ptr %pending, i64 1 seq_cst
  %last = icmp eq i64 %was, 1
  br label %finish
finish:
  %waiting.at = getelementptr i64, ptr %pool, i64 {Pool.WAITING}
  %waiting = load atomic i64, ptr %waiting.at seq_cst, align 8
  %waited = icmp ne i64 %waiting, 0
  %needed = and i1 %waited, %last
  br i1 %needed, label %tell, label %idle
tell:
  call void @wake(ptr %pending)
  br label %idle
left:
  ret void
}

; Tell the workers to leave; 0 when done, 1 when a call is using them.
define i32 @{STOP}(ptr %pool) #0 {
entry:
  %lock = getelementptr i64, ptr %pool, i64 {Pool.LOCK}
  %claimed = cmpxchg ptr %lock, i64 0, i64 1 acquire monotonic, align 8
  %mine = extractvalue { i64, i1 } %claimed, 1
  br i1 %mine, label %stop, label %busy
stop:
  ; The lock stays taken: whoever comes later runs its shares alone.
  %stop.at = getelementptr i64, ptr %pool, i64 {Pool.STOP}
  store atomic i64 1, ptr %stop.at release, align 8
  %old = load atomic i64, ptr %pool monotonic, align 8
  %number = add i64 %old, 1
  %job = and i64 %number, 4294967295
  store atomic i64 %job, ptr %pool seq_cst, align 8
  call void @wake(ptr %pool)
  ret i32 0
busy:
  ret i32 1
}

declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.umax.i64(i64, i64)

attributes #0 = { nounwind "no-builtins" }
"""


def text(triple: str) -> str:
    """Return the module's LLVM IR for a target triple.

    Raises:
        ValueError: the architecture is neither x86-64 nor aarch64.
    """
    parts = [f'target triple = "{triple}"', machine_ir.primitives(triple), _TEXT]
    return _fill("\n".join(parts))


def _fill(template: str) -> str:
    """Put in the names and numbers that stand in braces."""
    fields: dict[str, object] = {
        "CALL": CALL,
        "PARALLEL_FOR": PARALLEL_FOR,
        "POLL": POLL,
        "WORKER": WORKER,
        "STOP": STOP,
        "PIECES": _PIECES,
        "LEAST_PIECE": _LEAST_PIECE,
        "CONTEXT_WORDS": _CONTEXT_WORDS,
        "RECORD_WORDS": _RECORD_WORDS,
    }
    layouts: tuple[type[IntEnum], ...] = (Context, Error, Record, Pool, Trace)
    for layout in layouts:
        fields |= {f"{layout.__name__}.{field.name}": int(field) for field in layout}
    for name, value in fields.items():
        template = template.replace("{" + name + "}", str(value))
    return template
