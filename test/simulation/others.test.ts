/** The other 500 seeds of the simulation: a file of their own is a worker of their own. */
import { playAll } from "./playAll.ts"

playAll(501, 1000)
