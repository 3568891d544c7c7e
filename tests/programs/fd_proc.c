// SPDX-License-Identifier: LGPL-2.1-or-later
/* fd_proc FOLDER living|position|thread|dead|system: files of /proc. living: of the program, its child and a zombie; folders; links
 * with O_PATH; the memory file; a working folder there. position: a
 * text that was read in part. thread: of a
 * thread. dead: of a child that was reaped. system: what belongs to no
 * task, namespaces, files of sysfs and of control groups. */
#include "check.h"

#include <dirent.h>
#include <pthread.h>

static pid_t tid;

static void *thread_main(void *arg)
{
	(void)arg;
	tid = (pid_t)syscall(SYS_gettid);
	check_wait_trigger();
	while (access("end", F_OK))
		sleep_ms(1);
	return NULL;
}

static int child_main(void *arg)
{
	(void)arg;
	check_wait_trigger();
	while (access("end", F_OK))
		sleep_ms(1);
	return 0;
}

static void check_link(int fd, const char *want)
{
	char name[64], got[PATH_MAX] = "";

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	CHECK(readlink(name, got, sizeof(got) - 1) > 0 && !strcmp(got, want), "%s instead of %s", got, want);
}

/* From where it stands. */
static char *rest(int fd)
{
	static char buf[65536];
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	buf[n > 0 ? n : 0] = 0;
	return buf;
}

static int open_of(pid_t pid, const char *name, int flags)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/%d%s%s", pid, *name ? "/" : "", name);
	return (int)MUST(open(path, flags));
}

static volatile char word[] = "a word";

static void living(void)
{
	int status, comm, dir, fds, of_child, mem, link, of_zombie, maps;
	char want[128], name[64], buf[16] = "";
	pid_t child = check_fork(child_main, NULL), zombie;
	const char *text;
	siginfo_t info;

	zombie = (pid_t)MUST(fork());
	if (zombie == 0)
		_exit(0);
	of_zombie = open_of(zombie, "stat", O_RDONLY);
	MUST(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT));
	status = open_of(getpid(), "status", O_RDONLY);
	comm = open_of(getpid(), "comm", O_RDWR);
	dir = open_of(getpid(), "", O_RDONLY | O_DIRECTORY);
	fds = open_of(getpid(), "fd", O_RDONLY | O_DIRECTORY);
	mem = open_of(getpid(), "mem", O_RDWR);
	maps = open_of(getpid(), "maps", O_RDONLY);
	of_child = open_of(child, "stat", O_RDONLY);
	link = open_of(getpid(), "exe", O_PATH | O_NOFOLLOW);
	MUST(chdir("/proc/self/task"));
	check_ready();
	text = rest(status);
	CHECK(!strncmp(text, "Name:\tfd_proc\n", 14), "status: %.20s", text);
	if (access("restored", F_OK) == 0)
		CHECK(strstr(text, "TracerPid:\t0\n"), "the status of before: %s", text);
	snprintf(want, sizeof(want), "/proc/%d/status", getpid());
	check_link(status, want);
	MUST(write(comm, "renamed", 7));
	CHECK(pread(comm, buf, 8, 0) == 8 && !strncmp(buf, "renamed\n", 8), "comm: %s", buf);
	CHECK_EQ(fcntl(comm, F_GETFL) & O_ACCMODE, O_RDWR, "access of comm");
	CHECK_EQ(faccessat(dir, "status", F_OK, 0), 0, "status in the folder");
	snprintf(name, sizeof(name), "%d", fds);
	CHECK_EQ(faccessat(fds, name, F_OK, AT_SYMLINK_NOFOLLOW), 0, "its own descriptor in /proc/self/fd");
	CHECK(pread(mem, buf, 6, (off_t)(uintptr_t)word) == 6 && !strncmp(buf, "a word", 6), "mem: %.6s", buf);
	CHECK(pwrite(mem, "b", 1, (off_t)(uintptr_t)word) == 1 && word[0] == 'b', "a write to mem");
	CHECK(strstr(rest(maps), "fd_proc"), "maps");
	snprintf(want, sizeof(want), "%d (fd_proc)", child);
	CHECK(!strncmp(rest(of_child), want, strlen(want)), "the child's stat");
	snprintf(want, sizeof(want), "/proc/%d/exe", getpid());
	check_link(link, want);
	CHECK(readlinkat(link, "", want, sizeof(want)) > 0, "readlinkat: %s", strerror(errno));
	snprintf(want, sizeof(want), "%d (fd_proc) Z", zombie);
	CHECK(!strncmp(rest(of_zombie), want, strlen(want)), "the zombie's stat");
	snprintf(want, sizeof(want), "/proc/%d/task", getpid());
	CHECK(getcwd(name, sizeof(name)) && !strcmp(name, want), "working folder: %s", name);
	MUST(chdir(check_dir));
	close((int)MUST(open("end", O_CREAT | O_WRONLY, 0600)));
	check_child(child);
	MUST(lseek(of_child, 0, SEEK_SET));
	CHECK(read(of_child, buf, 1) == -1 && errno == ESRCH, "the dead child's stat");
}

static void position(void)
{
	int status = open_of(getpid(), "status", O_RDONLY), maps = open_of(getpid(), "maps", O_RDONLY);
	char first[16] = "", *before = slurp("/proc/self/maps"), *text;

	MUST(read(status, first, 5));
	MUST(read(maps, first, 9));
	check_ready();
	CHECK_EQ(lseek(status, 0, SEEK_CUR), 5, "position");
	text = rest(status);
	CHECK(!strncmp(text, "\tfd_proc\n", 9), "the rest of status: %.20s", text);
	CHECK(strstr(text, "TracerPid:\t0\n"), "it is the status of another time: %s", text);
	text = rest(maps);
	CHECK(!strncmp(text, before + 9, 100), "the rest of maps: %.100s", text);
}

static void thread(void)
{
	char name[64], want[128];
	pthread_t t;
	int comm;

	pthread_create(&t, NULL, thread_main, NULL);
	WAIT_FOR(__atomic_load_n(&tid, __ATOMIC_SEQ_CST) != 0);
	snprintf(name, sizeof(name), "task/%d/comm", tid);
	comm = open_of(getpid(), name, O_RDONLY);
	check_ready();
	CHECK(!strncmp(rest(comm), "fd_proc\n", 8), "the thread's comm");
	snprintf(want, sizeof(want), "/proc/%d/task/%d/comm", getpid(), tid);
	check_link(comm, want);
	close((int)MUST(open("end", O_CREAT | O_WRONLY, 0600)));
	pthread_join(t, NULL);
}

static void dead(void)
{
	pid_t child = check_fork(child_main, NULL);
	int status = open_of(child, "status", O_RDONLY), dir = open_of(child, "", O_RDONLY | O_DIRECTORY);
	int again = open_of(child, "status", O_RDONLY), task = open_of(child, "task", O_PATH | O_DIRECTORY);
	char buf[16], before[PATH_MAX] = "", want[PATH_MAX] = "", name[64];
	struct stat st;

	MUST(kill(child, SIGKILL));
	MUST(waitpid(child, NULL, 0));
	snprintf(name, sizeof(name), "/proc/self/fd/%d", status);
	MUST(readlink(name, before, sizeof(before) - 1));
	check_ready();
	snprintf(want, sizeof(want), "%s", before);
	check_link(status, want);
	CHECK(read(status, buf, 1) == -1 && errno == ESRCH, "read: %s", strerror(errno));
	CHECK(read(again, buf, 1) == -1 && errno == ESRCH, "read: %s", strerror(errno));
	CHECK(openat(dir, "status", O_RDONLY) == -1 && (errno == ENOENT || errno == ESRCH), "the folder's status: %s",
	      strerror(errno));
	CHECK_EQ(fstat(dir, &st), 0, "fstat of the folder");
	CHECK(S_ISDIR(st.st_mode), "the folder's mode");
	CHECK_EQ(fcntl(task, F_GETFL) & O_PATH, O_PATH, "O_PATH");
	snprintf(name, sizeof(name), "/proc/%d", child);
	CHECK(access(name, F_OK) == -1, "the dead child is back");
	CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "there is a child");
}

static const struct {
	const char *path;
	int flags;
} files[] = {
	{ "/proc/sys/kernel/hostname", O_RDONLY },
	{ "/proc/meminfo", O_RDONLY },
	{ "/proc", O_RDONLY | O_DIRECTORY },
	{ "/proc/self", O_PATH | O_NOFOLLOW },
	{ "/proc/sys", O_RDONLY | O_DIRECTORY },
	{ "/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY },
	{ "/sys/fs/cgroup", O_RDONLY },
	{ "/sys/fs/cgroup/cgroup.controllers", O_RDONLY },
	{ "/proc/self/ns/net", O_RDONLY },
	{ "/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC },
	{ "/proc/self/ns/user", O_RDONLY },
	{ "/proc/self/ns/pid_for_children", O_RDONLY },
	{ "/proc/self/ns/time", O_RDONLY },
	{ "/proc/self/ns/cgroup", O_RDONLY },
	{ "/proc/self/ns/uts", O_RDONLY },
	{ "/proc/self/ns/ipc", O_RDONLY },
};

static void system_(void)
{
	int fd[sizeof(files) / sizeof(files[0])];
	struct stat before, after;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		fd[i] = open(files[i].path, files[i].flags);
	check_ready();
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (fd[i] < 0)
			continue;
		CHECK_EQ(fstat(fd[i], &after), 0, files[i].path);
		MUST(fstatat(AT_FDCWD, files[i].path, &before, files[i].flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0));
		CHECK(before.st_ino == after.st_ino && before.st_dev == after.st_dev, "%s is another file",
		      files[i].path);
		CHECK_EQ(fcntl(fd[i], F_GETFD), files[i].flags & O_CLOEXEC ? FD_CLOEXEC : 0, files[i].path);
		if (S_ISREG(after.st_mode) && !strstr(files[i].path, "/ns/"))
			CHECK(*rest(fd[i]) || strstr(files[i].path, "cgroup"), "%s is empty", files[i].path);
	}
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "living";

	check_begin(argc, argv);
	if (!strcmp(kind, "dead"))
		dead();
	else if (!strcmp(kind, "position"))
		position();
	else if (!strcmp(kind, "thread"))
		thread();
	else if (!strcmp(kind, "system"))
		system_();
	else
		living();
	return check_end();
}
