#!/usr/bin/env node
import { Console, Effect } from "effect"

Effect.runFork(Console.log("vaivem: the command line is not there yet"))
