/*
 * test/fuzz/replay.c: a main for fuzz targets where there is no libFuzzer.
 *
 * Feeds each file of the given directories whole, cut at every byte, and with bytes changed by a
 * generator with a fixed seed, so that every run does the same. The first failure aborts. A file
 * edges.hex holds many inputs, one a line in hex digits, which are only fed whole and cut.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REPLAY_CHANGES	3000	/* changed copies of each file */
#define REPLAY_MAX_FILE (1 << 20)

static uint64_t replay_runs;

/* One input, in memory of just its size, so that a sanitizer sees any byte read behind it. */
static void
replay_one(const uint8_t *data, size_t size)
{
	uint8_t    *copy = malloc(size > 0 ? size : 1);

	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	replay_runs++;
}

static uint32_t
replay_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Change, insert, remove and repeat some bytes. Returns the new size; buf holds twice size + 64. */
static size_t
replay_change(uint8_t *buf, size_t size, uint32_t *seed)
{
	static const char interesting[] = "\"'\\,;(){}[]:\n\r\t .-+eEunx01u\xff\xc5\0\0/";
	int			n = 1 + (int) (replay_random(seed) % 4);

	while (n-- > 0)
	{
		size_t		at = size > 0 ? replay_random(seed) % size : 0;
		uint8_t		byte = (uint8_t) interesting[replay_random(seed) % (sizeof(interesting) - 1)];

		switch (replay_random(seed) % 4)
		{
			case 0:
				if (size > 0)
					buf[at] = byte;
				break;
			case 1:
				memmove(buf + at + 1, buf + at, size - at);
				buf[at] = byte;
				size++;
				break;
			case 2:
				if (size > 0)
				{
					memmove(buf + at, buf + at + 1, size - at - 1);
					size--;
				}
				break;
			default:
				{
					size_t		len = replay_random(seed) % 16;

					if (len > size - at)
						len = size - at;
					memmove(buf + at + len, buf + at, size - at);
					size += len;
				}
		}
	}
	return size;
}

/* One input whole, and cut at every byte, or every few bytes if it is long. */
static void
replay_cuts(const uint8_t *data, size_t size)
{
	for (size_t cut = 0; cut <= size; cut += (size > 4096 ? size / 4096 : 1))
		replay_one(data, cut);
	replay_one(data, size);
}

static int
replay_digit(uint8_t c)
{
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* The lines of a file of hex digits. */
static void
replay_hex(const uint8_t *text, size_t size)
{
	uint8_t    *data = malloc(size + 1);
	size_t		n = 0;

	for (size_t i = 0; i < size; i += 2)
	{
		if (text[i] == '\n')
		{
			replay_cuts(data, n);
			n = 0;
			i--;
		}
		else
			data[n++] = (uint8_t) (replay_digit(text[i]) * 16 + replay_digit(text[i + 1]));
	}
	free(data);
}

static void
replay_file(const char *path)
{
	FILE	   *f = fopen(path, "rb");
	uint8_t    *data = malloc(REPLAY_MAX_FILE);
	uint8_t    *buf;
	size_t		size;
	uint32_t	seed = 1;

	if (f == NULL)
	{
		perror(path);
		exit(2);
	}
	size = fread(data, 1, REPLAY_MAX_FILE, f);
	fclose(f);
	if (strstr(path, "/edges.hex") != NULL)
	{
		replay_hex(data, size);
		free(data);
		return;
	}
	buf = malloc(size * 2 + 64);
	replay_cuts(data, size);
	for (int i = 0; i < REPLAY_CHANGES; i++)
	{
		memcpy(buf, data, size);
		replay_one(buf, replay_change(buf, size, &seed));
	}
	free(buf);
	free(data);
}

int
main(int argc, char **argv)
{
	int			files = 0;

	for (int i = 1; i < argc; i++)
	{
		DIR		   *dir = opendir(argv[i]);
		struct dirent *entry;

		if (dir == NULL)
		{
			perror(argv[i]);
			return 2;
		}
		while ((entry = readdir(dir)) != NULL)
		{
			char		path[4096];

			if (entry->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
			replay_file(path);
			files++;
		}
		closedir(dir);
	}
	printf("%s: %d files, %llu runs\n", argv[0], files, (unsigned long long) replay_runs);
	return files == 0;
}
