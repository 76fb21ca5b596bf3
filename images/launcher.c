/* Starts the Python of the tree that it lies in, wherever that is: in a container without a shell, without a C library.
 *
 * Linked statically, because the loader's path in a program is absolute: this one names the loader that lies beside it.
 * As bin/gatekeeper it runs gatekeeper; by any other name it is that Python, which is what sys.executable names.
 * It must leave the environment as it was, for the command that takes over: nothing is said in a variable. What is
 * there for the loader (LD_PRELOAD, LD_LIBRARY_PATH ...) is the command's, made for its C library and not for ours: it
 * is put aside under another first letter, and sitecustomize.py puts it back once Python runs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

enum { FAULT = 70, OURS = 10 };

static char root[PATH_MAX], loader[PATH_MAX + 64], libraries[PATH_MAX + 64];
static char self[PATH_MAX + 64], python[PATH_MAX + 64], module[PATH_MAX + 64];

static int give_up(const char *path)
{
	fprintf(stderr, "gatekeeper: a fault in gatekeeper: %s cannot be executed: %s\n", path, strerror(errno));
	return FAULT;
}

static int find_root(const char *called)
{
	/* Without /proc there is only the path that it was called by. */
	if (!realpath("/proc/self/exe", root) && !realpath(called, root))
		return 0;
	for (int up = 0; up < 2; up++)
		*strrchr(root, '/') = 0;
	return 1;
}

static void put_aside(char **entries)
{
	for (; *entries; entries++)
		if (!strncmp(*entries, "LD_", 3))
			(*entries)[0] = '\1';
}

int main(int argc, char **argv)
{
	const char *called = (const char *)getauxval(AT_EXECFN); /* what was executed; argv[0] is whatever one likes */
	const char *name = called && strrchr(called, '/') ? strrchr(called, '/') + 1 : called ? called : "";
	char **words = calloc(argc + OURS, sizeof *words);
	int count = 0;

	if (!words || !find_root(called ? called : argv[0]))
		return give_up(argv[0] ? argv[0] : "gatekeeper");
	snprintf(loader, sizeof loader, "%s/lib/ld.so", root);
	snprintf(libraries, sizeof libraries, "%s/lib", root);
	snprintf(self, sizeof self, "%s/bin/python3", root);
	snprintf(python, sizeof python, "%s/libexec/python3", root);
	snprintf(module, sizeof module, "%s/lib/python3/site-packages/gatekeeper/__main__.pyc", root);
	char *ours[] = {loader, "--inhibit-cache", "--library-path", libraries, "--argv0", self, python, "-I", module};
	int most = strcmp(name, "python3") ? 9 : 7;
	for (; count < most; count++)
		words[count] = ours[count];
	for (int each = 1; each < argc; each++)
		words[count++] = argv[each];
	put_aside(environ);
	execv(loader, words);
	return give_up(loader);
}
